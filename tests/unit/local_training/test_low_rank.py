"""LoRA: a trained model stays as it is, and only thin additions learn and travel."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.training import ServerOptimizerConfig
from data_contracts.workspace import Contribution
from models.fixed_point import signed
from models.parameters import write_vector
from models.recommenders.building import (
    build_recommender,
    initial_vector,
    layout_for,
)
from models.recommenders.low_rank import learns, merged
from models.recommenders.sequence_recommender import ARCHITECTURES
from models.vocabulary import StockedItems, Vocabulary
from tasks.global_update.task import initialise_global_model
from tasks.local_training.silo_side import RoundJob, train_round
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.sequence_samples import TINY_MODEL, TINY_TRAINING, cycling_users

ITEMS, RANK = 20, 2
VOCABULARY = Vocabulary(f"i{item:02}" for item in range(ITEMS))
HISTORIES = torch.randint(ITEMS, (3, 10), generator=torch.manual_seed(0))


def model(architecture="transformer", **changes):
    return TINY_MODEL.model_copy(update={"architecture": architecture} | changes)


def checkpoint(config):
    """A trained model: any numbers will do."""
    vector = initial_vector(config.model_copy(update={"init_seed": 9}), ITEMS)
    tensors = layout_for(config, ITEMS).split(vector)
    return SimpleNamespace(tensors=tensors, vocabulary=VOCABULARY.items, metadata={})


def started(config, base):
    return initialise_global_model.fn(
        config, VOCABULARY, ServerOptimizerConfig(), base
    ).vector


def states(config, vector):
    module = build_recommender(config, ITEMS).eval()
    write_vector(module, vector)
    return module.encode(HISTORIES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_fresh_adapters_the_model_is_the_one_it_starts_from(architecture):
    plain, thin = model(architecture), model(architecture, low_rank=RANK)
    base = checkpoint(plain)
    before = states(plain, started(plain, base))
    torch.testing.assert_close(states(thin, started(thin, base)), before)


@pytest.fixture
def north(tmp_path):
    workspace = InProcessCohort(("north",), tmp_path).workspaces["north"]
    workspace.put(cycling_users(20, ITEMS, length=9))
    workspace.put(VOCABULARY)
    workspace.put(StockedItems(np.ones(ITEMS, dtype=bool)))
    return workspace


def config_for(thin, **sections):
    tree = {
        "data": {"dataset": "ml-100k"},
        "model": thin.model_copy(update={"init_from": "base.safetensors"}),
        "local_training": TINY_TRAINING,
        "schedule": {"rounds": 3},
    }
    return FederatedTrainingConfig.model_validate(tree | sections)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_adapters_learn_and_only_they_are_sent(north, architecture):
    thin = model(architecture, low_rank=RANK)
    start = started(thin, checkpoint(model(architecture)))
    job = RoundJob.of(config_for(thin), 1, 0, ("north",), 1000, vocabulary=VOCABULARY)
    train_round(north, start, job)
    words = north.get(Contribution).words
    layout = layout_for(job.model, ITEMS)
    thin_size = sum(
        int(np.prod(shape))
        for name, shape in zip(layout.names, layout.shapes, strict=True)
        if learns(name)
    )
    assert 0 < len(words) - thin_size < 10  # weight, loss and what was clipped
    update = layout.split(job.encoding.decode(signed(words)).update)
    moved = {name for name, part in update.items() if np.any(part)}
    assert moved == {name for name in layout.names if learns(name)}


def test_a_model_with_adapters_is_one_without_them_once_they_are_added():
    plain, thin = model(), model(low_rank=RANK)
    vector = started(thin, checkpoint(plain))
    vector += np.random.default_rng(0).normal(0, 0.1, vector.size).astype(np.float32)
    layout = layout_for(thin, ITEMS)
    added = layout_for(plain, ITEMS).join(merged(layout.split(vector)))
    torch.testing.assert_close(
        states(plain, added), states(thin, vector), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("low_rank", [None, 3])
def test_a_run_may_start_from_a_model_with_adapters(low_rank):
    thin = model(low_rank=RANK)
    layout = layout_for(thin, ITEMS)
    vector = started(thin, checkpoint(model()))
    vector += np.float32(0.01)
    again = SimpleNamespace(
        tensors=layout.split(vector), vocabulary=VOCABULARY.items, metadata={}
    )
    after = model(low_rank=low_rank)
    torch.testing.assert_close(
        states(after, started(after, again)), states(thin, vector), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        ({"model": {"low_rank": 2}}, r"set model\.init_from"),
        (
            {"privacy": {"mode": "local", "declared_users": 200, "delta": 1e-4}},
            "private",
        ),
        ({"secure_aggregation": {"min_silos_per_item": 2}}, "min_silos_per_item to 1"),
        ({"local_training": {"drift_correction": "scaffold"}}, "drift_correction"),
        (
            {"model": {"low_rank": 2, "init_from": "a", "personal": "top"}},
            r"model\.personal to none",
        ),
    ],
)
def test_what_adapters_do_not_go_with_is_refused(sections, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_for(model(low_rank=RANK), **sections)
