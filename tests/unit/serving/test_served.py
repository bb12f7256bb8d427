import numpy as np
import pytest

from models.recommenders.saved import SavedRecommender
from tests.simulators.served_models import (
    HISTORIES,
    IDS,
    people,
    saved_model,
    served_model,
)

SERVED = served_model()


def brute_force(history, k, barred, allowed=None):
    """Score everything, drop what may not be, sort."""
    model = saved_model()
    saved = SavedRecommender.of_model(model.items, model.tensors, model.metadata)
    known = [IDS.index(item) for item in history if item in IDS]
    scores = saved.scorer([np.array(known, np.int32)])[0]
    order = [
        IDS[place]
        for place in np.argsort(-scores)
        if IDS[place] not in barred and (allowed is None or allowed[place])
    ]
    return order[:k], scores


@pytest.mark.parametrize("length", [1, 3, 6, 20])
@pytest.mark.parametrize("above", [1_000_000, 1])
def test_answers_are_those_of_the_model(length, above):
    history = IDS[5 : 5 + length]
    served = served_model(above=above)
    answer = served.answer(history, k=5, excluded=("i00",))
    wanted, scores = brute_force(history, 5, {*history, "i00"})
    assert [item for item, _ in answer.items] == wanted
    told = [score for _, score in answer.items]
    np.testing.assert_allclose(
        told, [scores[IDS.index(item)] for item in wanted], rtol=1e-3, atol=1e-4
    )


def test_what_was_seen_comes_back_only_if_that_is_asked_for():
    seen = set(HISTORIES["bob"])
    without = SERVED.answer(HISTORIES["bob"], k=30)
    assert not {item for item, _ in without.items} & seen
    assert len(without.items) == len(IDS) - len(seen)
    whole = SERVED.answer(HISTORIES["bob"], k=30, exclude_seen=False)
    assert {item for item, _ in whole.items} == set(IDS)


@pytest.mark.parametrize("above", [1_000_000, 1])
def test_only_what_is_allowed_is_recommended(above):
    allowed = np.zeros(len(IDS), bool)
    allowed[[4, 7, 9]] = True
    served = served_model(allowed=allowed, above=above)
    answer = served.answer(("i00",), k=10)
    assert {item for item, _ in answer.items} == {"i04", "i07", "i09"}


def test_unknown_items_are_counted_and_left_out():
    answer = SERVED.answer(("nothing", "i03", "else"), k=3)
    assert (answer.unknown, answer.by_popularity) == (2, False)
    assert answer.items == SERVED.answer(("i03",), k=3).items


def test_who_has_no_known_item_gets_what_is_used_most():
    answer = SERVED.answer(("nothing",), k=2, excluded=("i02",))
    assert (answer.unknown, answer.by_popularity) == (1, True)
    assert answer.items[0][0] == "i03"  # ada and bob used it


def test_people_are_told_apart_and_in_order():
    known = people()
    assert {user: tuple(known.history(user)) for user in HISTORIES} == HISTORIES
    assert known.history("nobody") is None
    assert known.uses["i02"] == 2


def test_an_index_finds_what_a_search_of_everything_finds():
    """Recall at 10 of the index among two thousand items, on random people."""
    import torch

    from models.recommenders.nearest_items import ApproximateItems, ExactItems

    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2000, 16, generator=generator)
    bias = torch.randn(2000, generator=generator)
    allowed = np.arange(2000) % 3 != 0
    exact, index = (
        kind(rows, bias, allowed) for kind in (ExactItems, ApproximateItems)
    )
    found = []
    for _ in range(50):
        summary = torch.randn(16, generator=generator)
        barred = {4, 5, 7}
        wanted = {item for item, _ in exact.best(summary, barred, 10)}
        told = index.best(summary, barred, 10)
        assert not {item for item, _ in told} & barred
        assert all(allowed[item] for item, _ in told)
        scores = [score for _, score in told]
        assert scores == sorted(scores, reverse=True)
        found.append(len(wanted & {item for item, _ in told}) / 10)
    assert np.mean(found) > 0.95
