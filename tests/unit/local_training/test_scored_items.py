"""A silo's loss compares what its people could choose from."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.workspace import Contribution
from models.fixed_point import signed
from models.parameters import write_vector
from models.recommenders.building import (
    build_recommender,
    initial_vector,
    layout_for,
)
from models.scored_items import ScoredItems
from models.vocabulary import StockedItems, Vocabulary
from tasks.local_training.choice_of_people import scored_items
from tasks.local_training.silo_side import RoundJob, train_round
from tasks.local_training.trainer import batch_loss
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.sequence_samples import TINY_MODEL, TINY_TRAINING, cycling_users

ITEMS, USED = 20, 12
CPU = torch.device("cpu")
START = initial_vector(TINY_MODEL, ITEMS)
VOCABULARY = Vocabulary(f"i{item:02}" for item in range(ITEMS))
WHOLE = TINY_TRAINING.model_copy(update={"scored_items": "vocabulary"})
FLOAT32 = TINY_TRAINING.model_copy(update={"precision": "float32"})
STOCKED = np.arange(ITEMS) < 16


def config(**sections) -> FederatedTrainingConfig:
    tree = {
        "data": {"dataset": "ml-100k"},
        "model": TINY_MODEL,
        "local_training": TINY_TRAINING,
        "schedule": {"rounds": 3},
    }
    return FederatedTrainingConfig.model_validate(tree | sections)


@pytest.fixture
def north(tmp_path):
    """A silo with 16 of 20 items, 12 of which its people use."""
    workspace = InProcessCohort(("north",), tmp_path).workspaces["north"]
    workspace.put(cycling_users(20, USED, length=9))
    workspace.put(VOCABULARY)
    workspace.put(StockedItems(STOCKED))
    return workspace


def rows_moved(workspace, **sections) -> np.ndarray:
    """Which rows of the item table a round's update moves, bool [V]."""
    job = RoundJob.of(config(**sections), 1, 0, ("north",), 1000, vocabulary=VOCABULARY)
    train_round(workspace, START, job)
    mean = job.encoding.decode(signed(workspace.get(Contribution).words))
    table = layout_for(TINY_MODEL, ITEMS).split(mean.update)["items.weight"]
    return np.abs(table.reshape(ITEMS, -1)).max(axis=1) > 0


def test_the_loss_is_cross_entropy_over_the_scored_items():
    module = build_recommender(TINY_MODEL, ITEMS).eval()
    write_vector(module, START)
    scored = ScoredItems.of(STOCKED, CPU)
    items = torch.tensor([[1, 4, 7, 9], [3, 15, 2, -1]])
    loss = batch_loss(module, items, FLOAT32, scored)
    hidden = module.encode(items[:, :-1].clamp(min=0))
    logits = hidden @ module.items.weight[: STOCKED.sum()].T
    targets = items[:, 1:]
    expected = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=-1
    )
    torch.testing.assert_close(loss, expected)


def test_rows_that_a_silo_does_not_stock_stay_as_they_were(north):
    assert rows_moved(north).tolist() == STOCKED.tolist()


@pytest.mark.parametrize(
    "sections",
    [
        {"local_training": WHOLE},
        {"evaluation": {"candidates": "vocabulary"}},
    ],
)
def test_every_row_moves_where_the_whole_vocabulary_competes(north, sections):
    assert rows_moved(north, **sections).all()


def test_what_people_used_competes_though_the_catalogue_dropped_it(north):
    north.put(StockedItems(np.arange(ITEMS) >= USED))
    assert scored_items(north, config().decided_training, CPU) is None


def test_a_silo_with_every_item_needs_no_choice(north):
    north.put(StockedItems(np.ones(ITEMS, dtype=bool)))
    assert scored_items(north, config().decided_training, CPU) is None


def test_another_catalogue_is_another_update(north):
    job = RoundJob.of(config(), 1, 0, ("north",), 1000, vocabulary=VOCABULARY)
    train_round(north, START, job)
    before = north.get(Contribution).words
    north.put(StockedItems(np.arange(ITEMS) < 14))
    train_round(north, START, job)
    assert not np.array_equal(north.get(Contribution).words, before)


def test_what_nobody_used_can_be_kept_out_of_the_loss(north):
    trained = TINY_TRAINING.model_copy(update={"scored_items": "trained"})
    scored = scored_items(north, trained, CPU)
    assert scored.rows.tolist() == list(range(USED))
    assert not rows_moved(north, local_training=trained)[USED:].any()


def test_with_text_new_items_are_never_pushed_away():
    text = config(model={"items": "text", "text_encoder": "minilm"})
    assert text.decided_training.scored_items == "trained"
    assert config().decided_training.scored_items == "stocked"
