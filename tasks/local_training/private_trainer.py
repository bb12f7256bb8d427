"""Private training in a silo: DP-SGD with one user a row (Abadi et al. 2016).

In each step every user takes part with a public probability, independent of all
others; gradients of their mean losses are clipped as a whole, summed, noised, and
divided by a public constant. Whoever reads the result learns nothing that depends much
on any one user. All that leaves this module is the module it trained: no loss, norm or
number of users.

Opacus adds the noise and samples; the clipped sum is `models.privacy.clipping`.

Legend: B sampled users, L positions, K negatives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.optimizers.optimizer_fast_gradient_clipping import (
    DPOptimizerFastGradientClipping,
)
from opacus.utils.uniform_sampler import UniformWithReplacementSampler
from torch import Tensor

from models.ema import MovingAverage
from models.privacy.clipping.engine import ENGINES, EngineName
from models.privacy.clipping.heads import NO_ITEM
from models.privacy.mechanism import Mechanism
from models.privacy.randomness import os_seeded_generator, os_seeded_process
from models.privacy.user_block import NO_BLOCK, UserBlock
from models.proximal import ProximalTerm
from models.recommenders.sequence_recommender import SequenceRecommender
from models.sequences import SequenceData

BETAS = (0.9, 0.99)
OnProgress = Callable[[float], None]

logging.getLogger("opacus").setLevel(logging.ERROR)


def train_privately(
    module: SequenceRecommender,
    data: SequenceData,
    mechanism: Mechanism,
    block: UserBlock = NO_BLOCK,
    *,
    engine: EngineName = "bookkeeping",
    on_progress: OnProgress = lambda fraction: None,
) -> None:
    """Train `module` in place; an empty batch is noised, and counts, like any other.

    Args:
        module: parameters set.
        data: histories, one per user.
        mechanism: what to do.
        block: further users with gradients of their own, for an audit.
        engine: what clips.
        on_progress: called with the fraction done.

    Raises:
        ConfigError: a trainable parameter cannot be clipped per user.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    parameters += block.parameters()
    optimizer = _private_optimizer(parameters, mechanism)
    if mechanism.proximal_strength:  # joins the gradient once that has its noise
        proximal = ProximalTerm(module, mechanism.proximal_strength)
        optimizer.attach_step_hook(lambda _: proximal.add_gradient())
    average = MovingAverage(module, mechanism.averaging)
    summer = _ClippedSum(module, data, mechanism, block, engine)
    with os_seeded_process(module.items.weight.device):
        module.train()
        for done, users in enumerate(sampled_users(summer.num_users, mechanism)):
            optimizer.zero_grad(set_to_none=True)
            summer.add(users)
            optimizer.generator = os_seeded_generator(parameters[0].device)
            optimizer.step()
            average.update()
            on_progress((done + 1) / mechanism.steps)
    if mechanism.averaging:
        average.write()


def clipped_sum(
    module: SequenceRecommender,
    data: SequenceData,
    mechanism: Mechanism,
    *,
    engine: EngineName = "bookkeeping",
) -> NDArray[np.float32]:
    """The sum of one step's clipped gradients, float32 [d], without noise.

    It must not leave the silo before noise is added. The module is left as it was.
    """
    summer = _ClippedSum(module, data, mechanism, NO_BLOCK, engine)
    with os_seeded_process(module.items.weight.device):
        module.train()
        module.zero_grad(set_to_none=True)
        (users,) = sampled_users(summer.num_users, mechanism, steps=1)
        summer.add(users)
    flat = torch.cat([_gradient(p).flatten() for p in module.parameters()])
    module.zero_grad(set_to_none=True)
    return np.asarray(flat.cpu().numpy(), dtype=np.float32)


def sampled_users(
    num_users: int, mechanism: Mechanism, steps: int | None = None
) -> UniformWithReplacementSampler:
    """For every step the users in it: each with the public probability, int [B]."""
    return UniformWithReplacementSampler(
        num_samples=num_users,
        sample_rate=mechanism.sampling_probability,
        steps=mechanism.steps if steps is None else steps,
        generator=os_seeded_generator(),
    )


class _ClippedSum:
    """Adds the clipped gradients of a step's users to `grad`."""

    def __init__(
        self,
        module: SequenceRecommender,
        data: SequenceData,
        mechanism: Mechanism,
        block: UserBlock,
        engine: EngineName,
    ) -> None:
        self._module, self._data, self._mechanism = module, data, mechanism
        self._block = block
        self._engine = ENGINES[engine](module)
        self._windows = np.random.default_rng()
        self.num_users = data.num_users + block.num_users

    def add(self, users: list[int]) -> None:
        """Add up this step; every trainable parameter has a gradient afterwards."""
        drawn = np.array(users, dtype=np.int64)
        real = drawn[drawn < self._data.num_users]
        clip_norm, device = self._mechanism.clip_norm, self._module.items.weight.device
        negatives = self._negatives(device)
        items = self._histories(real).to(device)
        self._engine.add_clipped(items, clip_norm, negatives)
        others = drawn[drawn >= self._data.num_users] - self._data.num_users
        self._block.add_clipped(torch.from_numpy(others), clip_norm)
        for parameter in (*self._module.parameters(), *self._block.parameters()):
            if parameter.requires_grad:
                parameter.grad = _gradient(parameter)

    def _histories(self, users: NDArray[np.int64]) -> Tensor:
        """A random window of each user's training items, int64 [B, L + 1]."""
        length = self._mechanism.context + 1
        windows = [self._window(self._data.training_history(u), length) for u in users]
        width = max(map(len, windows), default=0)
        items = np.full((len(windows), max(2, width)), NO_ITEM, dtype=np.int64)
        for row, window in zip(items, windows, strict=True):
            row[: len(window)] = window
        return torch.from_numpy(items)

    def _window(self, history: NDArray[np.int32], length: int) -> NDArray[np.int32]:
        spare = max(0, len(history) - length)
        start = int(self._windows.integers(spare + 1))
        return history[start : start + length]

    def _negatives(self, device: torch.device) -> Tensor | None:
        """Distinct items, uniform, the same for all users of the step."""
        wanted, items = self._mechanism.negatives, self._module.num_items
        if not 0 < wanted < items:
            return None
        return torch.randperm(items, generator=os_seeded_generator())[:wanted].to(
            device
        )


def _private_optimizer(
    parameters: list[torch.nn.Parameter], mechanism: Mechanism
) -> DPOptimizerFastGradientClipping:
    adam = torch.optim.Adam(parameters, mechanism.learning_rate, BETAS)
    return DPOptimizerFastGradientClipping(
        adam,
        noise_multiplier=mechanism.noise_multiplier,
        max_grad_norm=mechanism.clip_norm,
        expected_batch_size=mechanism.expected_batch,
        loss_reduction="mean",
    )


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
