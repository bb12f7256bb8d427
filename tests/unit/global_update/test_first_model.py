"""The first global model: random, or carried over from a checkpoint by item."""

from types import SimpleNamespace

import numpy as np
import pytest

from data_contracts.errors import ConfigError
from data_contracts.settings.training import ServerOptimizerConfig
from models.item_features import ItemDescription, describe
from models.parameters import vector_hash
from models.recommenders.building import (
    ITEM_PROJECTION,
    ITEM_TABLE,
    initial_vector,
    layout_for,
    layout_over,
)
from models.vocabulary import Vocabulary
from tasks.global_update.initialisation import random_start, warm_start
from tasks.global_update.task import initialise_global_model
from tests.simulators.sequence_samples import TINY_MODEL

OLD_ITEMS = ("a", "b", "c", "d")
NEW = Vocabulary(["b", "d", "new"])
LAYOUT = layout_for(TINY_MODEL, NEW.size)


@pytest.fixture(scope="module")
def checkpoint():
    """The tensors of another seed, so that nothing agrees by accident."""
    other = TINY_MODEL.model_copy(update={"init_seed": 7})
    layout = layout_for(TINY_MODEL, len(OLD_ITEMS))
    return layout.split(initial_vector(other, len(OLD_ITEMS)))


@pytest.fixture(scope="module")
def carried(checkpoint):
    return LAYOUT.split(warm_start(TINY_MODEL, NEW, checkpoint, OLD_ITEMS))


def test_known_items_keep_their_row_wherever_it_stands_now(carried, checkpoint):
    assert np.array_equal(carried[ITEM_TABLE][0], checkpoint[ITEM_TABLE][1])
    assert np.array_equal(carried[ITEM_TABLE][1], checkpoint[ITEM_TABLE][3])


def test_new_items_start_where_a_random_model_would(carried):
    fresh = LAYOUT.split(random_start(TINY_MODEL, NEW))
    assert np.array_equal(carried[ITEM_TABLE][2], fresh[ITEM_TABLE][2])


def test_everything_else_is_the_checkpoints(carried, checkpoint):
    for name in set(LAYOUT.names) - {ITEM_TABLE}:
        assert np.array_equal(carried[name], checkpoint[name])


def test_the_checkpoint_is_left_as_it_was(checkpoint):
    before = {name: tensor.copy() for name, tensor in checkpoint.items()}
    warm_start(TINY_MODEL, NEW, checkpoint, OLD_ITEMS)
    assert all(np.array_equal(checkpoint[name], before[name]) for name in before)


@pytest.mark.parametrize(
    "changes",
    [
        {"dim": 32},
        {"blocks": 3},
        {"blocks": 1},
        {"architecture": "hstu"},
        {"architecture": "two-tower"},
    ],
    ids=["wider", "deeper", "shallower", "hstu", "two-tower"],
)
def test_a_checkpoint_of_another_architecture_is_refused(checkpoint, changes):
    other = TINY_MODEL.model_copy(update=changes)
    with pytest.raises(
        ConfigError, match=r"model\.init_from: .* use the architecture, items"
    ):
        warm_start(other, NEW, checkpoint, OLD_ITEMS)


def test_a_checkpoint_whose_items_are_not_its_rows_is_refused(checkpoint):
    with pytest.raises(ConfigError, match=r"does not fit .* at items\.weight"):
        warm_start(TINY_MODEL, NEW, checkpoint, OLD_ITEMS[:3])


def test_the_room_starts_at_random_or_from_the_checkpoint(checkpoint):
    optimizer = ServerOptimizerConfig(name="adam")
    random = initialise_global_model.fn(TINY_MODEL, NEW, optimizer, None)
    assert np.array_equal(random.vector, random_start(TINY_MODEL, NEW))
    saved = SimpleNamespace(tensors=checkpoint, vocabulary=OLD_ITEMS, metadata={})
    warm = initialise_global_model.fn(TINY_MODEL, NEW, optimizer, saved)
    assert warm.vector_hash == vector_hash(warm.vector) != random.vector_hash
    assert len(warm.server_state.first) == len(warm.vector)


FILMS = [ItemDescription(categories=c) for c in ("A", "A|B", "B", "A|C", "C")]
TOWER = TINY_MODEL.model_copy(update={"items": "features"})


def described(films):
    return Vocabulary([f"i{n}" for n in range(len(films))], describe(films))


def test_known_features_keep_their_row_and_items_may_come_and_go():
    before, now = described(FILMS), described(FILMS[:3])
    assert before.feature_names == (
        "every item", "category A", "category B", "category C",
    )  # fmt: skip
    assert now.feature_names == ("every item", "category A", "category B")
    other = TOWER.model_copy(update={"init_seed": 7})
    saved = layout_over(TOWER, before).split(random_start(other, before))
    start = warm_start(
        TOWER, now, saved | before.frozen, before.items, before.feature_names
    )
    carried = layout_over(TOWER, now).split(start)
    assert np.array_equal(carried[ITEM_PROJECTION], saved[ITEM_PROJECTION][:3])
    for name in set(saved) - {ITEM_PROJECTION}:
        assert np.array_equal(carried[name], saved[name])


def test_a_table_does_not_become_a_map_of_features():
    known = described(FILMS)
    with pytest.raises(ConfigError, match="does not fit the model section at items"):
        warm_start(TOWER, known, LAYOUT.split(random_start(TINY_MODEL, NEW)), NEW.items)
