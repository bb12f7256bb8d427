"""Facts about whole snapshots, against scipy and by eye."""

import doctest

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial.distance import jensenshannon

from data_contracts.columns import TableName
from data_contracts.tables import SiloTables
from tasks.validation import profile as profile_module
from tasks.validation import safe_counts
from tasks.validation.profile import (
    SnapshotProfile,
    js_divergence,
    profile_tables,
    row_loss,
    snapshot_facts,
)

INTERACTIONS = pa.table(
    {
        "user_id": ["ann", "ann", "bob", None, "eve"],
        "item_id": ["x", "y", "x", "x", "z"],
        "timestamp": [1, 2, 3, 4, 5],
    }
)


def profile(**tables):
    canonical = {TableName(name): table for name, table in tables.items()}
    return profile_tables(SiloTables(canonical, snapshot_hash="0"))


@pytest.mark.parametrize("seed", range(5))
def test_divergence_equals_the_square_of_scipys_distance(seed):
    generator = np.random.default_rng(seed)
    before, now = generator.integers(0, 50, size=(2, 40))
    ours = js_divergence(*[
        {f"i{item}": int(count) for item, count in enumerate(counts) if count}
        for counts in (before, now)
    ])  # fmt: skip
    assert ours == pytest.approx(jensenshannon(before, now, base=2) ** 2, abs=1e-12)


def test_divergence_is_symmetric_and_ignores_the_order_of_items():
    before, now = {"a": 3, "b": 9, "c": 1}, {"c": 5, "a": 2, "d": 8}
    turned = dict(reversed(now.items()))
    assert js_divergence(before, now) == js_divergence(turned, before)


@pytest.mark.parametrize(
    ("before", "now", "divergence"),
    [({}, {}, 0.0), ({}, {"a": 1}, 1.0), ({"a": 1}, {}, 1.0)],
)
def test_an_empty_snapshot_shares_nothing_with_a_full_one(before, now, divergence):
    assert js_divergence(before, now) == divergence


@pytest.mark.parametrize(
    ("before", "now", "loss"), [(10, 8, 0.2), (10, 0, 1.0), (10, 11, 0.0), (0, 0, 0.0)]
)
def test_row_loss(before, now, loss):
    assert row_loss(before, now) == pytest.approx(loss)


def test_profile_counts_rows_users_items_and_dangling_references():
    items = pa.table({"item_id": ["x", "y"]})
    users = pa.table({"user_id": ["bob"]})
    assert profile(interactions=INTERACTIONS, items=items, users=users) == (
        SnapshotProfile(
            interactions=5,
            users=3,
            unknown_item_rows=1,
            unknown_user_rows=3,
            item_counts={"x": 3, "y": 1, "z": 1},
        )
    )


def test_references_to_tables_the_silo_does_not_have_are_not_counted():
    alone = profile(interactions=INTERACTIONS)
    assert (alone.unknown_item_rows, alone.unknown_user_rows) == (None, None)


@pytest.mark.parametrize(
    ("items", "unknown"), [(pa.array([], pa.string()), 5), (["x", "y", "z"], 0)]
)
def test_every_item_is_unknown_to_an_empty_catalogue(items, unknown):
    known = profile(interactions=INTERACTIONS, items=pa.table({"item_id": items}))
    assert known.unknown_item_rows == unknown


def test_columns_that_are_missing_or_not_text_give_no_facts():
    table = pa.table({"user_id": [1, 2]})
    assert profile(interactions=table) == SnapshotProfile(2, None, None, None, {})


def test_a_first_snapshot_has_neither_drift_nor_row_loss():
    first = profile(interactions=INTERACTIONS)
    (facts,) = snapshot_facts(first, None).to_pylist()
    assert (facts["popularity_drift"], facts["row_loss"]) == (None, None)
    (facts,) = snapshot_facts(first, first).to_pylist()
    assert (facts["popularity_drift"], facts["row_loss"]) == (0.0, 0.0)


@pytest.mark.parametrize("module", [profile_module, safe_counts])
def test_worked_examples_hold(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
