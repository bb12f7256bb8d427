import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from models.recommenders.counting import popularity_counts, transition_counts
from models.sequences import Window
from models.vocabulary import Vocabulary
from tasks.local_training.trainer import batches
from tasks.preprocessing.cache import cache_key, read_sequences, write_sequences
from tasks.preprocessing.sequences import TimeCuts, build_sequences
from tests.simulators.sequence_samples import (
    TINY_TRAINING,
    cycling_users,
    interaction_tables,
)

ITEMS = Vocabulary(f"i{number}" for number in range(8))
CUTS = TimeCuts(validation=3 * 86_400, test=5 * 86_400)


def table(rows):
    users, items, times = zip(*rows, strict=True)
    return pa.table(
        {"user_id": users, "item_id": items, "timestamp": pa.array(times, pa.int64())}
    )


def as_lists(data):
    return [
        data.items[data.offsets[u] : data.offsets[u + 1]].tolist()
        for u in range(data.num_users)
    ]


def test_ties_in_time_keep_the_order_of_the_source():
    rows = [("a", "i3", 5), ("a", "i1", 5), ("b", "i2", 1), ("a", "i2", 5)]
    rows += [("b", "i0", 0), ("b", "i1", 1), ("a", "i0", 4)]
    data = build_sequences(table(rows), ITEMS, 3, None)
    assert as_lists(data) == [[0, 3, 1, 2], [0, 2, 1]]


def test_repeats_and_unknown_items_are_dropped_before_users_are_counted():
    rows = [("a", "i1", 1), ("a", "i1", 1), ("a", "i1", 2), ("a", "stranger", 3)]
    rows += [("b", item, time) for time, item in enumerate(["i1", "i2", "i3"])]
    data = build_sequences(table(rows), ITEMS, 3, None)
    assert as_lists(data) == [[1, 2, 3]]


def test_leave_one_out_holds_out_the_last_two_items():
    rows = [("a", f"i{time}", time) for time in range(5)]
    data = build_sequences(table(rows), ITEMS, 3, None)
    assert data.training_history(0).tolist() == [0, 1, 2]
    assert data.question(0, Window.VALIDATION)[1] == 3
    history, target = data.question(0, Window.TEST)
    assert (history.tolist(), target) == ([0, 1, 2, 3], 4)


def test_global_time_takes_the_last_item_of_each_window():
    days = [0, 1, 3, 4, 5, 6]
    rows = [("a", f"i{n}", day * 86_400) for n, day in enumerate(days)]
    data = build_sequences(table(rows), ITEMS, 3, CUTS)
    assert data.training_history(0).tolist() == [0, 1]
    assert data.question(0, Window.VALIDATION)[1] == 3
    assert data.question(0, Window.TEST)[1] == 5


def test_a_user_who_starts_in_a_window_has_no_first_item_to_predict():
    rows = [("a", f"i{n}", 4 * 86_400 + n) for n in range(3)]
    data = build_sequences(table(rows), ITEMS, 3, CUTS)
    assert data.training_history(0).tolist() == []
    assert data.question(0, Window.VALIDATION)[0].tolist() == [0, 1]
    assert data.held_out_users(Window.TEST).tolist() == []


@pytest.mark.parametrize("cuts", [None, CUTS], ids=["leave-one-out", "global-time"])
@settings(max_examples=150, deadline=None)
@given(interactions=interaction_tables())
def test_no_held_out_item_reaches_training(cuts, interactions):
    """Poison every held-out position; nothing that trains may ever see the poison."""
    data = build_sequences(interactions, ITEMS, 3, cuts)
    poison, poisoned = ITEMS.size, data.items.copy()
    for window in Window:
        for user in data.held_out_users(window):
            position = data.offsets[user] + data.targets(window)[user]
            poisoned[position] = poison
    assert all(
        train <= valid
        for train, valid in zip(data.train_end, data.validation, strict=True)
        if valid >= 0
    )
    seen = type(data)(
        poisoned, data.offsets, data.train_end, data.validation, data.test
    )
    assert popularity_counts(seen, poison + 1)[poison] == 0
    pairs = transition_counts(seen, poison + 1)
    assert pairs[poison].sum() == pairs[:, poison].sum() == 0
    order = np.random.default_rng(0)
    for _, batch in batches(seen, TINY_TRAINING, 12, order):
        assert (batch != poison).all()
    if cuts is None and data.num_users:
        assert len(data.held_out_users(Window.TEST)) == data.num_users


def test_sequences_come_back_from_the_cache_and_a_damaged_one_is_ignored(tmp_path):
    data = cycling_users(users=3, items=8, length=6)
    write_sequences(tmp_path / "key", data)
    back = read_sequences(tmp_path / "key")
    for name in ("items", "offsets", "train_end", "validation", "test"):
        assert np.array_equal(getattr(back, name), getattr(data, name))
    (tmp_path / "key" / "items.arrow").write_bytes(b"damaged")
    assert read_sequences(tmp_path / "key") is None


def test_the_cache_key_depends_on_every_part():
    keys = {cache_key("data", "words", 5, None), cache_key("data", "words", 6, None)}
    keys |= {cache_key("Data", "words", 5, None), cache_key("data", "words", 5, {})}
    assert len(keys) == 4
