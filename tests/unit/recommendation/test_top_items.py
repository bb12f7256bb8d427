import numpy as np
import pytest
import torch

from data_contracts.settings.training import ModelConfig
from models.parameters import write_vector
from models.recommenders.building import build_recommender, initial_vector
from models.recommenders.top_items import NOBODY, best_items, popular_items

ITEMS, CONTEXT = 30, 8


@pytest.fixture(params=["transformer", "hstu", "two-tower"])
def module(request):
    config = ModelConfig(
        architecture=request.param, dim=8, blocks=1, heads=2, context=CONTEXT
    )
    built = build_recommender(config, ITEMS)
    write_vector(built, initial_vector(config, ITEMS))
    return built.eval()


def histories(sizes):
    generator = np.random.default_rng(0)
    return [
        generator.choice(ITEMS, size=size, replace=False).astype(np.int32)
        for size in sizes
    ]


def one_by_one(module, history, allowed, k, exclude_seen):
    """The definition: score one person, drop what does not compete, sort."""
    recent = torch.from_numpy(history[-CONTEXT:].astype(np.int64))[None, :]
    with torch.inference_mode():
        scores = module.score(recent, torch.tensor([recent.shape[1]]))[0].numpy()
    competing = [
        item
        for item in range(ITEMS)
        if allowed[item] and not (exclude_seen and item in history)
    ]
    best = sorted(competing, key=lambda item: -scores[item])[:k]
    return best, scores[best]


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_batches_give_what_one_person_at_a_time_gives(module, exclude_seen):
    people = histories([1, 3, 8, 12, 20])
    allowed = np.ones(ITEMS, dtype=bool)
    allowed[::4] = False
    items, scores = best_items(
        module, people, torch.from_numpy(allowed), 5,
        context=CONTEXT, exclude_seen=exclude_seen,
    )  # fmt: skip
    for row, history in enumerate(people):
        wanted, figures = one_by_one(module, history, allowed, 5, exclude_seen)
        assert items[row].tolist() == wanted
        np.testing.assert_allclose(scores[row], figures, rtol=1e-4, atol=1e-5)


def test_seen_items_beyond_what_the_model_reads_are_left_out_as_well(module):
    (history,) = histories([25])
    items, _ = best_items(
        module, [history], torch.ones(ITEMS, dtype=torch.bool), ITEMS,
        context=CONTEXT, exclude_seen=True,
    )  # fmt: skip
    named = items[0][items[0] != NOBODY]
    assert set(named) == set(range(ITEMS)) - set(history.tolist())


def test_where_fewer_items_compete_the_rest_is_nobody(module):
    allowed = torch.zeros(ITEMS, dtype=torch.bool)
    allowed[[2, 7]] = True
    items, _ = best_items(
        module, histories([3]), allowed, 4, context=CONTEXT, exclude_seen=False
    )
    assert set(items[0][:2]) == {2, 7}
    assert items[0][2:].tolist() == [NOBODY, NOBODY]


def test_popular_items_are_those_that_are_used_most_and_allowed():
    counts = np.array([5, 9, 1, 7, 0])
    allowed = torch.tensor([True, False, True, True, True])
    items, scores = popular_items(counts, allowed, 3)
    assert items[0].tolist() == [3, 0, 2]
    assert (np.diff(scores[0]) < 0).all()
