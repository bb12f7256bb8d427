"""What must be true of private training; each check fails on some broken trainer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import stats

from models.parameters import read_vector
from models.privacy.clipping.engine import ENGINES, OneUser
from models.privacy.mechanism import Mechanism
from models.recommenders.building import build_recommender
from models.sequences import SequenceData
from tasks.local_training import private_trainer
from tests.simulators.sequence_samples import TINY_MODEL

ITEMS = 41
MODEL = TINY_MODEL.model_copy(update={"dropout": 0.0})
MECHANISM = Mechanism(
    clip_norm=0.5,
    noise_multiplier=1.5,
    sampling_probability=1.0,
    steps=1,
    expected_batch=10.0,
    learning_rate=1e-2,
    context=30,
)


def fresh_module(seed=3):
    module = build_recommender(MODEL, ITEMS)
    module.initialise(torch.Generator().manual_seed(seed))
    return module


def sequences(lengths, seed=0) -> SequenceData:
    """Users with so many training items, each from a corner of the catalogue."""
    draw = np.random.default_rng(seed)
    rows = [(3 * u + draw.integers(0, 7, n)) % ITEMS for u, n in enumerate(lengths)]
    ends = np.array(lengths, dtype=np.int64)
    nothing = np.full(len(lengths), -1, dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(ends)])
    items = np.concatenate(rows).astype(np.int32)
    return SequenceData(items, offsets, ends, nothing, nothing)


def heavy_and_light() -> SequenceData:
    return sequences([2, 3, 28, 2, 5, 28, 2, 9, 2, 4, 28, 2])


def without(data: SequenceData, user: int) -> SequenceData:
    kept = [u for u in range(data.num_users) if u != user]
    rows = [data.training_history(u) for u in kept]
    shorter = sequences([len(row) for row in rows])
    return replace(shorter, items=np.concatenate(rows))


def clipped_sums_are_exact() -> None:
    """Book-keeping equals one user at a time."""
    data, module = heavy_and_light(), fresh_module().double()
    items = torch.full((data.num_users, 29), -1)
    for user in range(data.num_users):
        row = torch.from_numpy(data.training_history(user).astype(np.int64))
        items[user, : len(row)] = row
    sums = []
    for engine in (ENGINES["bookkeeping"], OneUser):
        module.zero_grad(set_to_none=True)
        engine(module).add_clipped(items, MECHANISM.clip_norm)
        sums.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    assert torch.linalg.norm(sums[0] - sums[1]) < 1e-12


def one_user_changes_the_sum_by_no_more_than_the_clip_norm() -> None:
    """Sensitivity, over every neighbouring data set that lacks one user.

    Where the bound clips everybody, some and nobody: what couples users shows in one of
    them only.
    """
    data, module = heavy_and_light(), fresh_module()
    for clip_norm in (0.1, 1.0, 3.0, 10.0):
        mechanism = replace(MECHANISM, clip_norm=clip_norm)
        whole = private_trainer.clipped_sum(module, data, mechanism)
        for user in range(data.num_users):
            rest = private_trainer.clipped_sum(module, without(data, user), mechanism)
            change = np.linalg.norm(whole.astype(np.float64) - rest)
            assert change <= clip_norm * (1 + 1e-4), (clip_norm, user, change)


def noised_gradient(noise_multiplier=MECHANISM.noise_multiplier) -> list[np.ndarray]:
    """Gradients after a step in which nobody had anything to learn from."""
    module, nothing = fresh_module(), sequences([1] * 5)
    mechanism = replace(MECHANISM, noise_multiplier=noise_multiplier)
    private_trainer.train_privately(module, nothing, mechanism)
    return [p.grad.double().numpy().ravel() for p in module.parameters()]


def looks_normal(noise: np.ndarray, scale: float) -> bool:
    """Chi-square of the variance and Kolmogorov-Smirnov, both at 1 in 10,000."""
    total, size = float(np.square(noise / scale).sum()), len(noise)
    chi_square = 2 * min(stats.chi2.cdf(total, size), stats.chi2.sf(total, size))
    kolmogorov = stats.kstest(noise, "norm", args=(0, scale)).pvalue
    return bool(min(chi_square, kolmogorov) > 1e-4)


def noise_has_its_scale() -> None:
    """Every parameter is noised at the scale that is charged, and all together."""
    scale = MECHANISM.noise_multiplier * MECHANISM.clip_norm / MECHANISM.expected_batch
    steps = zip(*(noised_gradient() for _ in range(4)), strict=True)
    noise = [np.concatenate(parts) for parts in steps]
    assert all(looks_normal(part, scale) for part in noise)
    assert looks_normal(np.concatenate(noise), scale)
    assert not looks_normal(np.concatenate(noise), 1.1 * scale)
    assert not looks_normal(np.concatenate(noise), scale / 1.1)


def two_trainings_differ() -> None:
    """The same public seeds, data and settings never give the same model."""
    vectors = []
    for _ in range(2):
        torch.manual_seed(7)
        module = fresh_module()
        private_trainer.train_privately(module, sequences([1] * 5), MECHANISM)
        vectors.append(read_vector(module))
    assert not np.allclose(*vectors)


CHECKS = (
    clipped_sums_are_exact,
    one_user_changes_the_sum_by_no_more_than_the_clip_norm,
    noise_has_its_scale,
    two_trainings_differ,
)
