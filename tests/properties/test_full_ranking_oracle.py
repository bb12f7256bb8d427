"""Full ranking against an oracle that asks one user and one item at a time."""

from math import log, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.full_ranking import rank_held_out
from models.sequences import SequenceData, Window
from models.vocabulary import StockedItems

ITEMS = 7


@st.composite
def rankings(draw):
    """(sequences, shelf, scores of each user): few values, so that many tie."""
    histories = draw(
        st.lists(
            st.lists(st.integers(0, ITEMS - 1), min_size=3, max_size=9),
            min_size=1,
            max_size=6,
        )
    )
    lengths = np.array([len(history) for history in histories])
    data = SequenceData(
        np.concatenate(histories).astype(np.int32),
        np.concatenate([[0], lengths.cumsum()]),
        lengths - 2,
        lengths - 2,
        np.where([draw(st.booleans()) for _ in histories], lengths - 1, -1),
    )
    row = st.lists(st.integers(-2, 2), min_size=ITEMS, max_size=ITEMS)
    shelf = draw(st.lists(st.booleans(), min_size=ITEMS, max_size=ITEMS))
    return data, np.array(shelf), np.array([draw(row) for _ in histories], float)


def oracle(history, target, scores, shelf, k):
    """(hit, gain, reciprocal rank, nats) of one user, item by item."""
    rank, mass = 1.0, 0.0
    for item, score in enumerate(scores):
        competes = item == target or (shelf[item] and item not in history)
        mass += np.exp(score) if competes else 0.0
        if competes and item != target:
            rank += {True: 1.0, False: 0.0}[score > scores[target]]
            rank += 0.5 * (score == scores[target])
    hit = rank <= k
    gain = 1 / log2(1 + rank) if hit else 0.0
    return hit, gain, 1 / rank, log(mass) - scores[target]


@settings(deadline=None)
@given(rankings(), st.sampled_from(Window), st.integers(1, ITEMS))
def test_every_user_is_ranked_as_the_oracle_says(ranking, window, k):
    data, shelf, scores = ranking
    users = data.held_out_users(window)
    asked = iter(np.array_split(scores[users], len(users) or 1))

    def score(histories):
        expected = [data.question(user, window)[0].tolist() for user in users]
        assert [history.tolist() for history in histories] == expected
        return np.concatenate([next(asked) for _ in histories])

    found = rank_held_out(score, data, window, StockedItems(shelf), k)
    told = [
        oracle(*data.question(user, window), scores[user], shelf, k) for user in users
    ]
    sums = np.sum(told, axis=0) if told else np.zeros(4)
    assert found.sums.users == len(users)
    assert found.sums.values()[1:] == pytest.approx(sums, rel=1e-5, abs=1e-9)


@settings(deadline=None)
@given(rankings(), st.integers(1, ITEMS))
def test_only_items_that_may_compete_are_ever_recommended(ranking, k):
    data, shelf, scores = ranking
    users = data.held_out_users(Window.TEST)
    allowed = {data.question(user, Window.TEST)[1] for user in users}
    allowed |= set(np.flatnonzero(shelf).tolist())
    found = rank_held_out(
        lambda histories: scores[users], data, Window.TEST, StockedItems(shelf), k
    )
    assert set(np.flatnonzero(found.recommended).tolist()) <= allowed
