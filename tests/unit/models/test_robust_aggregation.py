"""Median, trimmed mean, Krum, norm bound: worked examples and what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.robust_aggregation import (
    krum,
    l2_norm,
    median,
    norm_factors,
    trimmed_mean,
)

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


def columns(*rows):
    return [np.array(row, dtype=np.float64) for row in rows]


def krum_update(updates):
    return updates[krum(updates, (len(updates) - 3) // 2)]


RULES = {
    "median": median,
    "trimmed mean": lambda updates: trimmed_mean(updates, (len(updates) - 1) // 2),
    "krum": krum_update,
}


@st.composite
def several_updates(draw, fewest=5):
    count, length = draw(st.integers(fewest, 9)), draw(st.integers(1, 6))
    return list(draw(arrays(np.float64, (count, length), elements=FINITE)))


def test_the_median_of_an_odd_and_of_an_even_number():
    assert median(columns([1, -5], [3, 0], [1000, 2])).tolist() == [3, 0]
    assert median(columns([1], [3], [5], [1000])).tolist() == [4]


def test_the_trimmed_mean_leaves_out_both_ends_of_every_coordinate():
    updates = columns([9, 0], [1, 1], [2, 2], [3, 9], [-7, -9])
    assert trimmed_mean(updates, 1).tolist() == [2, 1]
    assert trimmed_mean(updates, 2).tolist() == [2, 1]
    assert trimmed_mean(updates, 0).tolist() == [1.6, 0.6]


def test_krum_takes_the_middle_of_the_crowd():
    # With f = 1 of 5, each looks at its 2 nearest: squares 1 + 4, 1 + 1, 1 + 4,
    # 49 + 64, 90^2 + 97^2; the second lies closest to its neighbours.
    assert krum(columns([0], [1], [2], [10], [100]), 1) == 1
    assert krum(columns([100], [2], [10], [1], [0]), 1) == 3


def test_krum_is_not_moved_by_where_the_mean_is_dragged():
    honest = columns([1, 1], [1.1, 1], [0.9, 1], [1, 1.05])
    for lie in ([-1e9, 0], [1e9, 1e9], [3, 3]):
        assert krum([*honest, np.array(lie)], 1) in {0, 3}


def test_a_vector_longer_than_one_chunk_is_the_same():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(5, 70_001))
    assert np.array_equal(median(list(rows)), np.median(rows, axis=0))
    expected = np.sort(rows, axis=0)[1:-1].mean(axis=0)
    assert np.array_equal(trimmed_mean(list(rows), 1), expected)
    squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    scores = np.sort(squares, axis=1)[:, :3].sum(axis=1)
    assert krum(list(rows), 1) == scores.argmin()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_order_of_the_updates_does_not_matter(rule, data):
    updates = data.draw(several_updates())
    shuffled = data.draw(st.permutations(updates))
    assert np.array_equal(rule(shuffled), rule(updates))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_equal_updates_give_their_mean(rule, data):
    update = data.draw(arrays(np.float64, 4, elements=FINITE))
    assert np.allclose(rule([update] * 5), update, rtol=1e-12, atol=0)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_arbitrary_update_cannot_leave_the_range_of_the_others(rule, data):
    honest = data.draw(several_updates())
    lie = data.draw(
        arrays(np.float64, len(honest[0]), elements=st.floats(-1e150, 1e150))
    )
    result = rule([*honest, lie])
    if rule is krum_update and result is lie:
        # Krum takes one update as it is: then it must lie where the others do.
        spread = max(l2_norm(a - b) for a in honest for b in honest)
        assert min(l2_norm(lie - a) for a in honest) <= spread * (1 + 1e-9)
        return
    low, high = np.min(honest, axis=0), np.max(honest, axis=0)
    slack = 1e-9 * (1 + np.abs(low) + np.abs(high))
    assert (low - slack <= result).all()
    assert (result <= high + slack).all()


def test_the_mean_has_no_such_bound():
    honest = columns([1], [2], [3], [4])
    assert np.mean([*honest, np.array([1e9])], axis=0) > 1e8


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda u: trimmed_mean(u, 2), "trim 2 must lie between 0 and less than half"),
        (lambda u: trimmed_mean(u, -1), "trim -1 must lie between 0"),
        (lambda u: krum(u, 1), "krum against 1 attackers needs 5 updates, got 4"),
        (lambda u: krum(u, -1), "krum against -1 attackers"),
    ],
)
def test_too_few_updates_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(columns([1], [2], [3], [4]))


def test_norms_beyond_the_bound_come_down_to_it_and_no_further():
    norms = [1.0, 2.0, 3.0, 6.0, 3000.0]
    factors = norm_factors(norms, 2.0)
    assert factors.tolist() == [1, 1, 1, 1, 0.002]
    assert norm_factors([0.0, 0.0, 5.0], 3.0).tolist() == [1, 1, 0]
    assert norm_factors([4.0, 4.0], 1.0).tolist() == [1, 1]


def test_a_norm_is_taken_in_double_precision():
    assert l2_norm(np.full(4, 3e30, np.float32)) == pytest.approx(6e30)
