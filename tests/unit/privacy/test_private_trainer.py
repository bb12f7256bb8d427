"""Private training keeps every promise, and every broken variant is found out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from models.parameters import read_vector
from models.privacy.clipping import engine, heads
from models.privacy.clipping.engine import BookKeeping
from models.privacy.clipping.item_taps import ItemTableTap
from models.privacy.randomness import os_seeded_generator
from tasks.local_training import private_trainer
from tests.unit.privacy.checks import (
    CHECKS,
    ITEMS,
    MECHANISM,
    fresh_module,
    heavy_and_light,
    looks_normal,
    noised_gradient,
    sequences,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_trainer_passes(check):
    check()


def with_noise_times(factor):
    def change(monkeypatch):
        honest = private_trainer._private_optimizer

        def weak(parameters, mechanism):
            noise = mechanism.noise_multiplier * factor
            return honest(parameters, replace(mechanism, noise_multiplier=noise))

        monkeypatch.setattr(private_trainer, "_private_optimizer", weak)

    return change


def clip_times_100(monkeypatch):
    honest = engine.clip_factors
    monkeypatch.setattr(engine, "clip_factors", lambda n, c: honest(n, 100 * c))


def tied_head_unseen(monkeypatch):
    """As `F.linear(hidden, table.weight)` under hooks that see only the lookups."""

    def norm2_of_lookups(tap):
        items, rows = tap.x, tap.grad
        same = items[:, :, None] == items[:, None, :]
        return (torch.bmm(rows, rows.mT) * same).sum((1, 2))

    monkeypatch.setattr(ItemTableTap, "norm2", norm2_of_lookups)


def token_mean(monkeypatch):
    def weights(targets, dtype):
        real = (targets != heads.NO_ITEM).to(dtype)
        return real * len(real) / real.sum().clamp_min(1)

    monkeypatch.setattr(heads, "_weights", weights)


def in_batch_negatives(monkeypatch):
    honest = BookKeeping.add_clipped

    def coupled(self, items, clip_norm, negatives=None):
        others = items.unique()
        honest(self, items, clip_norm, others[others != heads.NO_ITEM])

    monkeypatch.setattr(BookKeeping, "add_clipped", coupled)


def seeded_noise(monkeypatch):
    monkeypatch.setattr(
        private_trainer, "os_seeded_generator",
        lambda device="cpu": torch.Generator(device).manual_seed(5),
    )  # fmt: skip


def unseeded_noise(monkeypatch):
    """A generator that nobody seeded is a constant of torch."""
    monkeypatch.setattr(private_trainer, "os_seeded_generator", torch.Generator)


MUTANTS = {
    "noise off": with_noise_times(0.0),
    "noise / 4": with_noise_times(0.25),
    "noise - 10 %": with_noise_times(0.9),
    "clip x 100": clip_times_100,
    "tied head unseen": tied_head_unseen,
    "token mean": token_mean,
    "in-batch negatives": in_batch_negatives,
    "seeded noise": seeded_noise,
    "unseeded noise": unseeded_noise,
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_broken_trainer_fails_a_check(mutant, monkeypatch):
    MUTANTS[mutant](monkeypatch)
    failed = []
    for check in CHECKS:
        try:
            check()
        except AssertionError:
            failed.append(check.__name__)
    assert failed


def test_noise_is_no_part_of_anything_when_it_is_off():
    assert not any(part.any() for part in noised_gradient(noise_multiplier=0.0))


def test_the_proximal_term_joins_the_gradient_behind_the_noise():
    """Without users and noise the pull is all there is, and it begins at zero."""
    silent = replace(
        MECHANISM, sampling_probability=1e-9, noise_multiplier=0.0,
        proximal_strength=3.0, steps=1,
    )  # fmt: skip
    module = fresh_module()
    private_trainer.train_privately(module, heavy_and_light(), silent)
    assert not any(p.grad.any() for p in module.parameters())
    noisy = replace(MECHANISM, proximal_strength=1e4, steps=20)
    ends = []
    for mechanism in (replace(noisy, proximal_strength=0.0), noisy):
        module = fresh_module()
        start = read_vector(module)
        private_trainer.train_privately(module, heavy_and_light(), mechanism)
        ends.append(np.linalg.norm(read_vector(module) - start))
    assert ends[1] < 0.7 * ends[0]


def test_an_empty_batch_is_noised_like_any_other():
    module, nobody = fresh_module(), replace(MECHANISM, sampling_probability=1e-9)
    private_trainer.train_privately(module, heavy_and_light(), nobody)
    scale = MECHANISM.noise_multiplier * MECHANISM.clip_norm / MECHANISM.expected_batch
    noise = np.concatenate(
        [p.grad.double().numpy().ravel() for p in module.parameters()]
    )
    assert looks_normal(noise, scale)


def test_steps_draw_each_user_with_the_public_probability_and_alone():
    """Sizes are binomial, users as frequent as each other, steps unrelated."""
    users, steps, q = 400, 600, 0.2
    mechanism = replace(MECHANISM, sampling_probability=q, steps=steps)
    drawn = np.zeros((steps, users))
    for step, chosen in enumerate(private_trainer.sampled_users(users, mechanism)):
        drawn[step, chosen] = 1
    variance = q * (1 - q)
    spread = np.square(drawn.sum(1) - q * users).sum() / (users * variance)
    assert 1e-4 < stats.chi2.cdf(spread, steps) < 1 - 1e-4
    spread = np.square(drawn.sum(0) - q * steps).sum() / (steps * variance)
    assert 1e-4 < stats.chi2.cdf(spread, users) < 1 - 1e-4  # no shuffled epochs
    following = ((drawn[1:] - q) * (drawn[:-1] - q)).sum()
    assert abs(following) < 4 * variance * np.sqrt((steps - 1) * users)


def test_private_training_learns_what_most_users_do():
    walks = sequences([8] * 300)
    items = (np.arange(8)[None] + np.arange(300)[:, None]).ravel() % ITEMS
    walks = replace(walks, items=items.astype(np.int32))
    module = fresh_module()
    recipe = replace(
        MECHANISM, steps=80, sampling_probability=0.5, expected_batch=150.0,
        learning_rate=3e-2, noise_multiplier=1.0, averaging=0.5,
    )  # fmt: skip
    private_trainer.train_privately(module, walks, recipe)
    histories = torch.tensor([[1, 2, 3, 4], [9, 10, 11, 12]])
    best = module.eval().score(histories, torch.tensor([4, 4])).argmax(1)
    assert best.tolist() == [5, 13]


def test_both_engines_train_with_sampled_softmax():
    recipe = replace(MECHANISM, negatives=7, steps=2)
    for name in engine.ENGINES:
        module = fresh_module()
        before = read_vector(module)
        private_trainer.train_privately(module, heavy_and_light(), recipe, engine=name)
        assert np.isfinite(read_vector(module)).all()
        assert not np.array_equal(read_vector(module), before)


def test_a_generator_from_the_system_is_never_the_same_and_uniform():
    draws = [torch.rand(5000, generator=os_seeded_generator()) for _ in range(2)]
    assert not torch.equal(*draws)
    assert min(stats.kstest(draw.numpy(), "uniform").pvalue for draw in draws) > 1e-5
