from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.errors import NotRecordedError
from data_contracts.records import Verdict
from tasks.lineage.ancestry import ModelLineage, models_with, which_made
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import (
    APRIL,
    MARCH,
    append_end,
    append_round,
    append_run,
    append_start,
    contract_record,
    decision_record,
    metric_record,
    model_record,
    participant_record,
    round_record,
    sha,
)


@pytest.fixture
def store(tmp_path: Path) -> LineageStore:
    return LineageStore(tmp_path)


def contributions(lineage: ModelLineage) -> set[tuple[str, int, str, str]]:
    return {
        (row.run_id, row.round_number, row.silo, row.data_snapshot_hash)
        for share in lineage.shares
        for row in share.participants
        if row.contributed
    }


def places(models: tuple) -> list[tuple[str, int, bool]]:
    return [(row.run_id, row.round_number, row.published) for row in models]


def test_a_model_names_every_contribution_with_its_evidence(
    store: LineageStore,
) -> None:
    append_start(store, "spring")
    contracts = [contract_record("spring", "north"), contract_record("spring", "south")]
    store.append(contracts, run_id="spring", step="admission")
    append_round(store, "spring", 1, parent="", absent=("south",))
    append_round(store, "spring", 2)
    append_round(store, "spring", 3)
    append_end(
        store, "spring", model_record("spring", 2, sha("spring", 1), published=True)
    )
    lineage = which_made(store, sha("spring", 2)[:12])
    (share,) = lineage.shares
    assert lineage.model.published
    assert contributions(lineage) == {
        ("spring", 1, "north", MARCH),
        ("spring", 2, "north", MARCH),
        ("spring", 2, "south", MARCH),
    }
    assert [row.round_number for row in share.rounds] == [1, 2]
    assert {row.round_number for row in share.metrics} == {1, 2}
    assert share.contracts == tuple(contracts)
    assert share.run.config_hash == "c0" * 32
    assert share.run.code_hash == "c1" * 32


def test_a_warm_start_carries_on_the_lineage_of_its_base(store: LineageStore) -> None:
    base = append_run(store, "march", rounds=2)
    silos = {"north": APRIL, "west": APRIL}
    middle = append_run(store, "april", rounds=1, base=base, silos=silos)
    latest = append_run(store, "may", rounds=1, base=middle, silos={"west": APRIL})
    lineage = which_made(store, latest)
    assert [share.run.run_id for share in lineage.shares] == ["may", "april", "march"]
    assert contributions(lineage) == {
        ("may", 1, "west", APRIL),
        ("april", 1, "north", APRIL),
        ("april", 1, "west", APRIL),
        ("march", 1, "north", MARCH),
        ("march", 1, "south", MARCH),
        ("march", 2, "north", MARCH),
        ("march", 2, "south", MARCH),
    }


def test_a_warm_start_from_an_early_round_leaves_later_rounds_out(
    store: LineageStore,
) -> None:
    append_run(store, "march", rounds=3)
    append_run(store, "april", rounds=1, base=sha("march", 1))
    made = contributions(which_made(store, "april"))
    assert {(run, number) for run, number, _, _ in made} == {("april", 1), ("march", 1)}


def test_a_rejected_round_is_in_no_later_model(store: LineageStore) -> None:
    append_start(store, "run1")
    append_round(store, "run1", 1, parent="", silos={"north": MARCH})
    rejected = {"silos": {"south": MARCH}, "verdict": Verdict.REJECTED}
    append_round(store, "run1", 2, **rejected)
    append_round(store, "run1", 3, parent=sha("run1", 1), silos={"north": MARCH})
    append_end(store, "run1")
    assert {silo for _, _, silo, _ in contributions(which_made(store, "run1"))} == {
        "north"
    }
    # The refused candidate itself does contain it.
    assert places(models_with(store, "south")) == [("run1", 2, False)]


def test_a_model_kept_through_a_rejected_round_is_the_one_it_was(
    store: LineageStore,
) -> None:
    append_start(store, "run1")
    append_round(store, "run1", 1, parent="", silos={"north": MARCH})
    kept = replace(model_record("run1", 2, ""), sha256=sha("run1", 1))
    records = [
        participant_record("run1", 2, "south"),
        decision_record("run1", 2, Verdict.REJECTED),
        kept,
        round_record("run1", 2, 1),
    ]
    store.append(records, run_id="run1", step="round-2")
    append_round(store, "run1", 3, parent=sha("run1", 1), silos={"west": MARCH})
    append_end(store, "run1", replace(kept, published=True))
    published = which_made(store, "run1")
    assert published.model.published
    assert contributions(published) == {("run1", 1, "north", MARCH)}
    assert contributions(which_made(store, sha("run1", 3))) == {
        ("run1", 1, "north", MARCH),
        ("run1", 3, "west", MARCH),
    }
    assert models_with(store, "south") == ()
    assert places(models_with(store, "north")) == [
        ("run1", 1, False),
        ("run1", 2, False),
        ("run1", 2, True),
        ("run1", 3, False),
    ]


@pytest.mark.parametrize("parent", ["", "ba5e" * 16])
def test_a_run_that_recorded_only_its_last_model_counts_all_accepted_rounds(
    store: LineageStore, parent: str
) -> None:
    append_start(store, "run1")
    for number, silo in enumerate(("north", "south", "west"), start=1):
        records = [
            participant_record("run1", number, silo),
            round_record("run1", number, 1),
        ]
        store.append(records, run_id="run1", step=f"round-{number}")
    append_end(store, "run1", model_record("run1", 3, parent, published=True))
    lineage = which_made(store, "run1")
    assert {silo for _, _, silo, _ in contributions(lineage)} == {
        "north",
        "south",
        "west",
    }
    assert lineage.unrecorded_parents == ((parent,) if parent else ())


def test_the_same_bytes_made_twice_are_one_model_of_two_runs(
    store: LineageStore,
) -> None:
    append_run(store, "first", rounds=1)
    append_start(store, "again")
    twin = replace(
        model_record("again", 1, ""),
        sha256=sha("first", 1),
        at="2026-01-02T00:00:00Z",
    )
    records = [participant_record("again", 1, "north"), twin, round_record("again", 1)]
    store.append(records, run_id="again", step="round-1")
    append_end(store, "again")
    lineage = which_made(store, sha("first", 1))
    assert lineage.model.run_id == "again"
    assert lineage.also_made_by == ("first",)


def test_models_with_a_silo_include_descendants_of_other_runs(
    store: LineageStore,
) -> None:
    base = append_run(store, "march", rounds=1)
    middle = append_run(store, "april", rounds=1, base=base, silos={"north": APRIL})
    append_run(store, "may", rounds=1, base=middle, silos={"north": APRIL})
    append_run(store, "other", rounds=1, silos={"north": MARCH})
    assert places(models_with(store, "south")) == [
        ("april", 1, False),
        ("april", 1, True),
        ("march", 1, False),
        ("march", 1, True),
        ("may", 1, False),
        ("may", 1, True),
    ]


def test_models_with_a_snapshot_leave_out_models_of_other_data(
    store: LineageStore,
) -> None:
    append_run(store, "march", rounds=1, silos={"north": MARCH})
    append_run(store, "april", rounds=1, silos={"north": APRIL})
    found = {row.run_id for row in models_with(store, "north", MARCH[:8])}
    assert found == {"march"}
    assert {row.run_id for row in models_with(store, "north")} == {"march", "april"}


def test_a_silo_that_only_evaluated_or_dropped_out_is_in_no_model(
    store: LineageStore,
) -> None:
    append_start(store, "run1")
    append_round(store, "run1", 1, parent="", absent=("south",))
    store.append([metric_record("run1", 1, "east")], run_id="run1", step="late")
    append_end(store, "run1")
    assert models_with(store, "south") == ()
    with pytest.raises(NotRecordedError, match="recorded silos: north, south"):
        models_with(store, "east")


def test_a_round_that_is_just_being_recorded_made_no_model_yet(
    store: LineageStore,
) -> None:
    append_start(store, "run1")
    half = [participant_record("run1", 1, "north"), model_record("run1", 1, "")]
    store.append(half, run_id="run1", step="half")
    with pytest.raises(NotRecordedError, match="run run1 has no model on record"):
        which_made(store, "run1")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("zz", "no recorded model or run starts with 'zz'"),
        ("ru", r"2 recorded models or runs start with 'ru' \(run1, run2\)"),
        (sha("run1", 1)[:6], "2 recorded models or runs start with"),
    ],
)
def test_a_model_that_cannot_be_told_is_one_sentence(
    store: LineageStore, asked: str, sentence: str
) -> None:
    append_run(store, "run1", rounds=2)
    append_run(store, "run2", rounds=2)
    with pytest.raises(NotRecordedError, match=sentence):
        which_made(store, asked)


def test_a_snapshot_nobody_used_is_one_sentence(store: LineageStore) -> None:
    append_run(store, "run1")
    with pytest.raises(NotRecordedError, match="no data snapshot that starts with"):
        models_with(store, "north", "ffff")
