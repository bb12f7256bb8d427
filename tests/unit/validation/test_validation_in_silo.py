"""From a silo's tables to an admission, as the coordinator sees it."""

import tempfile
import time

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.columns import TableName
from data_contracts.errors import (
    ContractFailedError,
    FailureReason,
    QuorumLostError,
    SiloInputError,
)
from data_contracts.settings.data import ContractConfig
from data_contracts.tables import SiloTables
from data_contracts.workspace import SiloFailure
from tasks.validation.accepted_snapshot import FILE_NAME
from tasks.validation.silo_side import accept_snapshot, validate_tables
from tasks.validation.task import admit_silos
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.synthetic_tables import synthetic_tables, world

pytestmark = pytest.mark.great_expectations

NOW = 1_900_000_000
CONTRACTS = ContractConfig(min_interactions=100, min_users=10)
SILOS = ("east", "north", "west")
CANARY_TEXT, CANARY_RATING, CANARY_TIME = "canary-4711", 4711.4711, 4_711_471_147


def make_tables(users=20, seed=1, items=40, length=30):
    shared = world(np.random.default_rng(0), items)
    generator = np.random.default_rng(seed)
    return synthetic_tables(generator, shared, users=users, length=length)


def make_interactions(**sizes):
    tables = make_tables(**sizes)
    return {TableName.INTERACTIONS: tables[TableName.INTERACTIONS]}


def with_rows(tables, **columns):
    """The tables with further interactions at the end."""
    extra = pa.table(columns).cast(tables[TableName.INTERACTIONS].schema)
    interactions = pa.concat_tables([tables[TableName.INTERACTIONS], extra])
    return {**tables, TableName.INTERACTIONS: interactions}


def without_columns(tables, *names):
    interactions = tables[TableName.INTERACTIONS].drop_columns(list(names))
    return {**tables, TableName.INTERACTIONS: interactions}


def shelve(cohort, silo, tables):
    cohort.workspaces[silo].put(SiloTables(tables, snapshot_hash="0"))


@pytest.fixture
def cohort(tmp_path):
    """Three silos with interactions only; further tables take time to check."""
    cohort = InProcessCohort(SILOS, tmp_path)
    for seed, silo in enumerate(SILOS):
        shelve(cohort, silo, make_interactions(seed=seed))
    return cohort


def admit(cohort, contracts=CONTRACTS, *, min_silos=1, loading_failures=()):
    admission = admit_silos.fn(
        cohort,
        contracts,
        run_id="run-1",
        min_silos=min_silos,
        loading_failures=dict(loading_failures),
        now_seconds=NOW,
    )
    admission.require_quorum(min_silos)
    return admission


def broken(cohort, tables, contracts=CONTRACTS):
    """(table, column, kind without prefix, count) of what north's tables break."""
    shelve(cohort, "north", tables)
    return [
        (r.table, r.column, r.kind.removeprefix("expect_"), r.count)
        for r in validate_tables(cohort.workspaces["north"], contracts, NOW)
        if not r.success
    ]


def test_good_silos_are_admitted_and_their_snapshots_kept(cohort):
    shelve(cohort, "north", make_tables())
    admission = admit(cohort, min_silos=3)
    assert admission.admitted == SILOS
    assert admission.quarantined == {}
    assert all(record.success for record in admission.records)
    assert all((w.folder / FILE_NAME).is_file() for w in cohort.workspaces.values())


def test_a_bad_silo_is_quarantined_and_the_other_goes_on(cohort):
    bad = with_rows(
        make_interactions(),
        user_id=["u00000"],
        item_id=["i00000"],
        rating=[9.0],
        timestamp=[1],
    )
    shelve(cohort, "north", bad)
    admission = admit(cohort.only(["east", "north"]))
    assert admission.admitted == ("east",)
    assert admission.quarantined == {
        "north": "silo north is quarantined: "
        "interactions.timestamp breaks `expect_column_values_to_be_between` in "
        f"fewer than 10 rows (allowed: 631152000 to {NOW}); "
        "interactions.rating breaks `expect_column_values_to_be_between` in "
        "fewer than 10 rows (allowed: 1.0 to 5.0)"
    }
    assert not (cohort.workspaces["north"].folder / FILE_NAME).exists()


def test_below_quorum_no_snapshot_is_accepted(cohort):
    shelve(cohort, "north", without_columns(make_interactions(), "item_id"))
    with pytest.raises(QuorumLostError, match=r"silo north is quarantined: inter.*_id"):
        admit(cohort.only(["east", "north"]), min_silos=2)
    assert "accept_snapshot" not in cohort.steps


def test_silos_that_failed_to_load_are_not_asked(cohort):
    failure = SiloFailure("west", FailureReason.BAD_INPUT, "no such file")
    for asked in (cohort.only(["east", "west"]), cohort.only(["east"])):
        admission = admit(asked, loading_failures={"west": failure})
        assert admission.admitted == ("east",)
        assert admission.quarantined["west"].endswith("no such file")
        assert {record.silo for record in admission.records} == {"east"}


def test_a_silo_that_cannot_keep_its_snapshot_is_quarantined(cohort):
    cohort.sabotage["east", "accept_snapshot"] = OSError("disk full")
    with pytest.raises(QuorumLostError, match=r"1 silos .*\n.* east is quarantined"):
        admit(cohort.only(["east", "north"]), min_silos=2)


@pytest.mark.parametrize("rows", [0, 60])
def test_a_tiny_silo_breaks_the_minima_and_its_size_is_not_told(cohort, rows):
    (tiny,) = (table.slice(0, rows) for table in make_interactions(users=3).values())
    kind = "column_values_to_be_between"
    assert broken(cohort, {TableName.INTERACTIONS: tiny}) == [
        ("snapshot", "interactions", kind, ""),
        ("snapshot", "users", kind, ""),
    ]


@pytest.mark.parametrize(
    ("table", "fact"),
    [
        (TableName.ITEMS, "interactions_with_unknown_item"),
        (TableName.USERS, "interactions_with_unknown_user"),
    ],
)
def test_references_must_resolve_where_the_other_table_exists(cohort, table, fact):
    tables = make_tables()
    row = {"user_id": ["zoe"], "item_id": ["new"], "rating": [1.0], "timestamp": [NOW]}
    dangling = with_rows(tables, **row)
    kept = {table, TableName.INTERACTIONS}
    pair = {name: rows for name, rows in dangling.items() if name in kept}
    assert broken(cohort, pair) == [
        ("snapshot", fact, "column_values_to_be_between", "fewer than 10")
    ]
    alone = {TableName.INTERACTIONS: dangling[TableName.INTERACTIONS]}
    assert broken(cohort, alone) == []


def test_duplicates_are_broken_rows_of_all_three_columns(cohort):
    tables = make_interactions()
    first = tables[TableName.INTERACTIONS].slice(0, 30)
    doubled = with_rows(tables, **first.to_pydict())
    kind = "compound_columns_to_be_unique"
    assert broken(cohort, doubled) == [
        ("interactions", "user_id, item_id, timestamp", kind, "60")
    ]


def test_ratings_are_optional(cohort):
    assert broken(cohort, without_columns(make_interactions(), "rating")) == []


def test_small_drift_is_accepted_large_drift_and_row_loss_are_not(cohort):
    workspace = cohort.workspaces["north"]
    assert broken(cohort, make_interactions()) == [], "nothing to drift from yet"
    accept_snapshot(workspace)
    assert broken(cohort, make_interactions(seed=2)) == [], "other users, same taste"

    (interactions,) = make_interactions().values()
    new_ids = [[f"new-{item}" for item in interactions["item_id"].to_pylist()]]
    position = interactions.column_names.index("item_id")
    other_items = interactions.set_column(position, "item_id", new_ids)
    drifted = {TableName.INTERACTIONS: other_items}
    drift = ("snapshot", "popularity_drift", "column_values_to_be_between", "")
    assert broken(cohort, drifted) == [drift]
    tolerant = CONTRACTS.model_copy(update={"max_popularity_drift": 1.0})
    assert broken(cohort, drifted, tolerant) == []

    half = interactions.slice(0, interactions.num_rows // 2)
    loss = ("snapshot", "row_loss", "column_values_to_be_between", "")
    assert broken(cohort, {TableName.INTERACTIONS: half}) == [loss]


def test_a_broken_snapshot_does_not_replace_the_accepted_one(cohort):
    workspace = cohort.workspaces["north"]
    broken(cohort, make_interactions())
    accept_snapshot(workspace)
    before = (workspace.folder / FILE_NAME).read_bytes()
    assert broken(cohort, make_interactions(users=3))
    with pytest.raises(ContractFailedError, match="keeps its last accepted snapshot"):
        accept_snapshot(workspace)
    assert (workspace.folder / FILE_NAME).read_bytes() == before


def test_the_same_snapshot_passes_again_after_it_was_accepted(cohort):
    north = cohort.only(["north"])
    assert admit(north) == admit(north)


def test_a_spoilt_profile_quarantines_with_the_way_out(cohort):
    (cohort.workspaces["north"].folder / FILE_NAME).write_text("{")
    with pytest.raises(SiloInputError):
        validate_tables(cohort.workspaces["north"], CONTRACTS, NOW)
    with pytest.raises(QuorumLostError, match="delete that file"):
        admit(cohort.only(["north"]))


def test_no_value_of_a_failing_row_leaves_the_silo(
    cohort, tmp_path, caplog, capfd, monkeypatch
):
    caplog.set_level(0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    rows = {
        "user_id": [CANARY_TEXT, CANARY_TEXT, ""],
        "item_id": [CANARY_TEXT, CANARY_TEXT, None],
        "rating": [CANARY_RATING] * 3,
        "timestamp": [CANARY_TIME] * 3,
    }
    tables = with_rows(make_tables(), **rows)
    for table, column in ((TableName.ITEMS, "item_id"), (TableName.USERS, "user_id")):
        row = {**tables[table].slice(0, 1).to_pylist()[0], column: CANARY_TEXT}
        twice = pa.Table.from_pylist([row, row], schema=tables[table].schema)
        tables[table] = pa.concat_tables([tables[table], twice])
    shelve(cohort, "north", tables)
    interactions = tables[TableName.INTERACTIONS]
    texts = pa.array([CANARY_TEXT] * interactions.num_rows)
    position = interactions.column_names.index("timestamp")
    wrong_type = interactions.set_column(position, "timestamp", texts)
    shelve(cohort, "west", {TableName.INTERACTIONS: wrong_type})

    admission = admit(cohort)
    with pytest.raises(QuorumLostError) as lost:
        admit(cohort.only(["west"]))

    assert set(admission.quarantined) == {"north", "west"}
    assert len({r.expectation for r in admission.records if not r.success}) >= 5
    told = [repr(admission), lost.value.message, caplog.text, *capfd.readouterr()]
    told += [p.read_text() for p in elsewhere.rglob("*") if p.is_file()]
    for canary in (CANARY_TEXT, str(CANARY_RATING), str(CANARY_TIME)):
        assert not [text for text in told if canary in text]
    accepted = [p.parent.name for p in tmp_path.rglob(FILE_NAME)]
    assert accepted == ["east"]


def test_a_silo_of_25_000_rows_takes_well_under_two_seconds(cohort):
    tables = make_tables(users=250, items=200, length=120)
    assert tables[TableName.INTERACTIONS].num_rows > 24_000
    validate_tables(cohort.workspaces["north"], CONTRACTS, NOW)  # imports the engine
    shelve(cohort, "north", tables)
    started = time.process_time()
    validate_tables(cohort.workspaces["north"], CONTRACTS, NOW)
    assert time.process_time() - started < 2.0
