"""Items named by a key: who can connect what, what is never named, what is refused."""

import hashlib
import hmac
import stat

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.columns import TableName
from data_contracts.errors import ConfigError, QuorumLostError, SiloError
from data_contracts.hidden_names import NAMES_FILE
from data_contracts.tables import SiloTables
from models.item_names import CELLS, in_cells, item_name, key_check, marked_cells
from tasks.vocabulary.hidden_side import hide_items, mark_cells
from tasks.vocabulary.item_key import ITEM_KEY, make_item_key, read_item_key
from tasks.vocabulary.task import agree_on_vocabulary, hide_items_on_silos
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.open_sum import sum_in_the_open

KEY, OTHER = bytes(range(32)), bytes(32)
STOCK = {
    "north": ["alpha", "beta", "gamma", "north-only"],
    "south": ["alpha", "beta", "south-only"],
    "west": ["alpha", "gamma", "delta"],
}


def tables(stock: list[str], catalogue: bool = True) -> SiloTables:
    """Six users who each touched everything once, and the catalogue."""
    pairs = [(f"u{user}", item) for item in stock for user in range(6)]
    users, items = zip(*pairs, strict=True)
    brought = {TableName.INTERACTIONS: pa.table({"user_id": users, "item_id": items})}
    if catalogue:
        brought[TableName.ITEMS] = pa.table({"item_id": stock})
    return SiloTables(brought, "hash")


@pytest.fixture
def cohort(tmp_path):
    cohort = InProcessCohort(STOCK, tmp_path)
    for silo, workspace in cohort.workspaces.items():
        workspace.put(tables(STOCK[silo], catalogue=silo != "west"))
        (workspace.folder / ITEM_KEY).write_text(KEY.hex())
    return cohort


def agreed(cohort, **choices):
    return agree_on_vocabulary.fn(
        cohort, sum_in_the_open,
        **{"min_interactions_per_item": 2, "fewest_silos": 2} | choices,
    )  # fmt: skip


def test_a_name_is_the_keyed_hash_of_the_id_with_its_domain():
    digest = hmac.new(KEY, b"silorec item name, version 1\x00alpha", hashlib.sha256)
    assert item_name(KEY, "alpha") == digest.hexdigest()[:32]
    assert item_name(OTHER, "alpha") != item_name(KEY, "alpha")
    assert key_check(KEY) != key_check(OTHER)
    assert len({item_name(KEY, str(i)) for i in range(10_000)}) == 10_000


def test_a_name_is_in_the_cells_that_it_marks_and_seldom_in_those_of_others():
    names = [item_name(KEY, str(item)) for item in range(20_000)]
    marks = marked_cells(names[:10_000])
    assert marks.shape == (CELLS,)
    assert set(np.unique(marks)) == {0, 1}
    assert in_cells(names[:10_000], marks > 0) == tuple(names[:10_000])
    # (2 * 10,000 / 1,048,576) ** 2 = 0.036 % of 10,000: 3.6 expected.
    assert len(in_cells(names[10_000:], marks > 0)) <= 12


def test_only_items_of_two_silos_are_agreed_on_and_only_by_name(cohort):
    hide_items_on_silos.fn(cohort, "keyed-hash")
    shared = ("alpha", "beta", "gamma")
    assert agreed(cohort).items == tuple(sorted(item_name(KEY, i) for i in shared))
    assert agreed(cohort, fewest_silos=3).items == (item_name(KEY, "alpha"),)
    assert agreed(cohort, public_only=False).size == 3


def test_no_silo_ever_says_an_id_or_the_name_of_an_item_of_its_own(cohort):
    told = []

    def overhear(step, workspace, *args):
        reply = step(workspace, *args)
        told.append(repr(reply))
        return reply

    cohort.meddler = overhear
    hide_items_on_silos.fn(cohort, "keyed-hash")
    agreed(cohort)
    said = "".join(told)
    everything = set().union(*STOCK.values())
    assert not [item for item in everything if item in said]
    alone = ("north-only", "south-only", "delta")
    assert not [item for item in alone if item_name(KEY, item) in said]
    assert item_name(KEY, "alpha") in said


def test_the_silo_keeps_what_its_names_stand_for(cohort):
    north = cohort.workspaces["north"]
    hide_items(north)
    kept = pq.read_table(north.folder / NAMES_FILE).to_pylist()
    assert {row["item_id"]: row["name"] for row in kept} == {
        item: item_name(KEY, item) for item in STOCK["north"]
    }
    again = north.get(SiloTables)
    hide_items(north)  # tried again: names are not named once more
    assert north.get(SiloTables) is again


def test_rows_keep_their_order_and_everything_else(cohort):
    north = cohort.workspaces["north"]
    before = north.get(SiloTables)
    hide_items(north)
    after = north.get(SiloTables)
    old, new = (t.tables[TableName.INTERACTIONS].to_pylist() for t in (before, after))
    assert [row | {"item_id": item_name(KEY, row["item_id"])} for row in old] == new
    assert after.snapshot_hash == before.snapshot_hash


def test_another_key_by_mistake_is_told_by_name(cohort):
    (cohort.workspaces["south"].folder / ITEM_KEY).write_text(OTHER.hex())
    with pytest.raises(ConfigError, match="south; north, west each hold another one"):
        hide_items_on_silos.fn(cohort, "keyed-hash")


def test_a_silo_without_a_key_is_left_out_and_says_nothing(cohort):
    (cohort.workspaces["south"].folder / ITEM_KEY).unlink()
    replies = hide_items_on_silos.fn(cohort, "keyed-hash")
    assert list(replies.values) == ["north", "west"]
    assert "has no item key" in replies.failures["south"].sentence
    with pytest.raises(SiloError, match="holds no HiddenTables"):
        mark_cells(cohort.workspaces["south"], False, 3)


def test_plain_names_ask_nobody(cohort):
    replies = hide_items_on_silos.fn(cohort, "plain")
    assert list(replies.values) == list(STOCK)
    assert not cohort.steps


def test_silos_with_nothing_in_common_are_told_what_to_check(cohort):
    for silo, workspace in cohort.workspaces.items():
        workspace.put(tables([f"{silo}-{item}" for item in STOCK[silo]]))
    hide_items_on_silos.fn(cohort, "keyed-hash")
    with pytest.raises(QuorumLostError, match="no item is stocked by 2 silos; items"):
        agreed(cohort)


def test_a_key_is_made_once_and_copied_and_never_replaced(tmp_path):
    north, south = tmp_path / "north", tmp_path / "south"
    assert make_item_key(north)
    key = read_item_key(north / ITEM_KEY)
    assert len(key) == 32
    assert stat.S_IMODE((north / ITEM_KEY).stat().st_mode) == 0o600
    assert not make_item_key(north)
    assert make_item_key(south, north / ITEM_KEY)
    assert read_item_key(south / ITEM_KEY) == key
    assert not make_item_key(south, north / ITEM_KEY)
    other = tmp_path / "other"
    make_item_key(other)
    with pytest.raises(ConfigError, match="holds another key"):
        make_item_key(south, other / ITEM_KEY)
    assert read_item_key(south / ITEM_KEY) == key


@pytest.mark.parametrize("content", ["", "abc", "g" * 64, "00" * 33])
def test_a_file_without_a_key_is_refused(tmp_path, content):
    path = tmp_path / ITEM_KEY
    path.write_text(content)
    with pytest.raises(ConfigError, match="holds no item key; `silorec silo item-key"):
        read_item_key(path)
