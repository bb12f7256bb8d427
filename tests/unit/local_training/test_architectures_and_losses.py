"""Every architecture learns, however a step is cut up and whatever is compared."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from data_contracts.run_config import FederatedTrainingConfig
from models.losses import full_cross_entropy, sampled_cross_entropy
from models.parameters import write_vector
from models.recommenders.building import (
    build_recommender,
    history_scorer,
    initial_vector,
    layout_for,
)
from models.recommenders.sequence_recommender import ARCHITECTURES
from tasks.local_training.trainer import add_gradients, batch_loss, batches, train
from tests.simulators.sequence_samples import TINY_MODEL, TINY_TRAINING, cycling_users

ITEMS = 20
DATA = cycling_users(users=40, items=ITEMS, length=9)


def recipe(**changes):
    base = {"precision": "float32", "batch_size": 16}
    return TINY_TRAINING.model_copy(update=base | changes)


def module_of(architecture="transformer", **changes):
    config = TINY_MODEL.model_copy(update={"architecture": architecture} | changes)
    module = build_recommender(config, ITEMS)
    write_vector(module, initial_vector(config, ITEMS))
    return module


def gradients(module, config, batch):
    """(loss, gradient of all parameters) of one batch, with the same dropout."""
    module.train()
    torch.manual_seed(5)
    loss = add_gradients(module, batch, config)
    return loss, torch.cat([p.grad.ravel() for p in module.parameters()])


def some_batch(config):
    *_, (_, batch) = batches(DATA, config, 7, np.random.default_rng(1))
    batch = batch.clone()
    batch[0, 4:] = -1  # users of different lengths
    return batch


@pytest.mark.parametrize("loss", ["full", "sampled"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_learns_what_follows_what(architecture, loss):
    module = module_of(architecture)
    config = recipe(epochs=40, loss=loss, negatives=8)
    train(module, DATA, config, context=12, learning_rate=0.02, seed=1)
    score = history_scorer(module, context=12)
    histories = [np.arange(i, i + 4, dtype=np.int32) for i in range(10)]
    assert score(histories).argmax(axis=1).tolist() == [i + 4 for i in range(10)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_step_in_pieces_is_the_same_step(architecture):
    module, config = module_of(architecture, dropout=0.0), recipe()
    batch = some_batch(config)
    whole_loss, whole = gradients(module, config, batch)
    module.zero_grad()
    loss, pieces = gradients(module, recipe(users_at_once=3), batch)
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_activations_computed_again_give_the_same_gradient(architecture):
    module, config = module_of(architecture, dropout=0.3), recipe()
    batch = some_batch(config)
    kept_loss, kept = gradients(module, config, batch)
    module.zero_grad()
    loss, again = gradients(module, recipe(recompute_activations=True), batch)
    assert loss == kept_loss
    torch.testing.assert_close(again, kept, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("recompute", "times"), [(False, 1), (True, 2)])
def test_activations_are_computed_again_only_where_that_is_asked_for(recompute, times):
    module, config = module_of(), recipe(recompute_activations=recompute)
    calls = []
    for block in module.blocks:
        block.register_forward_pre_hook(lambda block, inputs: calls.append(block))
    gradients(module, config, some_batch(config))
    assert len(calls) == times * len(module.blocks)


def test_a_sampled_loss_without_its_target_is_a_softmax_over_the_sample():
    hidden = torch.randn(5, 8, generator=torch.manual_seed(0))
    table = torch.randn(6, 8, generator=torch.manual_seed(1))
    targets = torch.tensor([0, 1, 1, 2, 0])
    found = sampled_cross_entropy(hidden, table, targets, torch.arange(6))
    exact = functional.cross_entropy(hidden @ table.T, targets)
    torch.testing.assert_close(found, exact)  # the sample is everything


def test_sampled_mass_is_unbiased_and_would_not_be_without_its_correction():
    generator = torch.manual_seed(2)
    hidden = torch.randn(4, 8, generator=generator)
    table = torch.randn(50, 8, generator=generator)
    targets = torch.tensor([3, 9, 9, 40])
    own = (hidden * table[targets]).sum(1)

    def mass(negatives):
        """Mean over targets of what the exponentials of all items sum up to."""
        losses = torch.stack([
            sampled_cross_entropy(h[None], table, t[None], negatives)
            for h, t in zip(hidden, targets, strict=True)
        ])  # fmt: skip
        return (losses + own).exp().mean()

    draws = [torch.randperm(50, generator=generator)[:10] for _ in range(3000)]
    found = torch.stack([mass(draw) for draw in draws])
    exact = (hidden @ table.T).exp().sum(1).mean()
    error = float(found.std() / math.sqrt(len(draws)))
    assert abs(float(found.mean() - exact)) < 4 * error
    assert 4 * error < 0.2 * float(exact)  # a missing factor of 5 would show


def test_more_negatives_come_closer_to_the_full_gradient():
    def error(negatives):
        hidden = torch.randn(64, 8, generator=torch.manual_seed(3), requires_grad=True)
        table = torch.randn(400, 8, generator=torch.manual_seed(4))
        targets = torch.arange(64)
        full = full_cross_entropy(hidden, table, targets, torch.float32)
        (exact,) = torch.autograd.grad(full, hidden)
        drawn = torch.randperm(400, generator=torch.manual_seed(5))[:negatives]
        (found,) = torch.autograd.grad(
            sampled_cross_entropy(hidden, table, targets, drawn), hidden
        )
        return float((found - exact).norm() / exact.norm())

    assert error(20) > error(100) > error(300)
    assert error(400) < 1e-5


def test_without_targets_a_sampled_loss_is_nothing():
    table = torch.zeros(3, 8)
    none = torch.zeros(0, dtype=torch.int64)
    assert sampled_cross_entropy(torch.zeros(0, 8), table, none, torch.arange(2)) == 0


def test_enough_negatives_are_the_full_loss():
    module, batch = module_of().eval(), some_batch(recipe())
    sampled = batch_loss(module, batch, recipe(loss="sampled", negatives=ITEMS))
    assert torch.equal(sampled, batch_loss(module, batch, recipe()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_models_beyond_a_billion_parameters_are_a_matter_of_configuration(architecture):
    config = TINY_MODEL.model_copy(
        update={"architecture": architecture, "dim": 4096, "heads": 32, "blocks": 24}
    )
    assert layout_for(config, 100).size > 1_000_000_000


@pytest.mark.parametrize(
    "training",
    [{"loss": "sampled"}, {"users_at_once": 8}, {"recompute_activations": True}],
)
def test_private_training_refuses_what_it_would_not_do(training):
    tree = {
        "data": {"dataset": "ml-100k"},
        "local_training": training,
        "privacy": {"mode": "local", "declared_users": 200, "delta": 1e-4},
    }
    with pytest.raises(ValueError, match=r"set local_training\.loss to full"):
        FederatedTrainingConfig.model_validate(tree)
