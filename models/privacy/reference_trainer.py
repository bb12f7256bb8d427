"""Private training written to be read: what a faster trainer must be equal to.

DP-SGD of Abadi et al. 2016 (arXiv 1607.00133) for one user a row: Poisson sampling,
the mean loss over a user's own positions, one gradient per user, clipped as a whole,
summed, noised, divided by a public constant; Adam on the result. Gradients are
materialised per user, so this is for small models. Dropout is not supported.

Legend: B sampled users, L positions, P parameters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F  # noqa: N812 - torch's own convention
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.privacy.audited_trainer import DiracBlock, Mechanism
from models.privacy.randomness import os_seeded_generator
from models.recommenders.sequence_recommender import SequenceRecommender
from models.sequences import SequenceData

BETAS = (0.9, 0.99)
USERS_AT_ONCE = 128
NO_ITEM = -1

Gradients = dict[str, Tensor]


def train_by_the_book(
    module: SequenceRecommender,
    data: SequenceData,
    mechanism: Mechanism,
    block: DiracBlock,
) -> None:
    """Train `module` and `block` in place; see `AuditedTrainer`."""
    items = padded_histories(data, mechanism.context)
    parameters = [*module.parameters(), *block.parameters()]
    optimizer = torch.optim.Adam(parameters, mechanism.learning_rate, BETAS)
    losses = UserLoss(module)
    for _ in range(mechanism.steps):
        sampled = poisson_sample(
            len(items) + block.num_users, mechanism.sampling_probability
        )
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        users, canaries = sampled[sampled < len(items)], sampled[sampled >= len(items)]
        for chunk in users.split(USERS_AT_ONCE):
            add_clipped_gradients(losses, items[chunk], mechanism.clip_norm)
        canaries = canaries - len(items)
        factors = clip_factors(block.norms(canaries), mechanism.clip_norm)
        block.add_clipped(canaries, factors)
        add_noise(parameters, mechanism)
        optimizer.step()


class UserLoss(nn.Module):
    """Mean cross entropy over one user's positions, from items [L + 1] to a scalar."""

    def __init__(self, recommender: SequenceRecommender) -> None:
        super().__init__()
        self.recommender = recommender

    def forward(self, items: Tensor) -> Tensor:
        """Padding is `NO_ITEM`, at the end."""
        history, targets = items[:-1].clamp_min(0), items[1:]
        hidden = self.recommender.encode(history[None])[0]  # [L, D]
        logs = F.log_softmax(hidden @ self.recommender.items.weight.T, dim=-1)
        real = targets != NO_ITEM
        picked = logs.gather(1, targets.clamp_min(0)[:, None])[:, 0]
        return -(picked * real).sum() / real.sum()


def padded_histories(data: SequenceData, context: int) -> Tensor:
    """The last context + 1 training items of each user, int64 [U, L + 1].

    Users with fewer than two items have nothing to predict and are left out.
    """
    rows = [data.training_history(user) for user in range(data.num_users)]
    rows = [row[-(context + 1) :] for row in rows if len(row) >= 2]
    width = max(map(len, rows), default=2)
    padded = np.full((len(rows), width), NO_ITEM, np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return torch.from_numpy(padded)


def poisson_sample(users: int, probability: float) -> Tensor:
    """Each user with `probability`, independent of all others; int64 [B]."""
    drawn = torch.rand(users, generator=os_seeded_generator(), dtype=torch.float64)
    return torch.nonzero(drawn < probability)[:, 0]


def user_gradients(losses: UserLoss, items: Tensor) -> Gradients:
    """One gradient per user and parameter, each [B, *shape]."""
    parameters = {name: p.detach() for name, p in losses.named_parameters()}

    def loss(parameters: Gradients, row: Tensor) -> Tensor:
        value: Tensor = functional_call(losses, parameters, (row,))
        return value

    with sdpa_kernel(SDPBackend.MATH):  # the only one that vmap knows
        gradients: Gradients = vmap(grad(loss), in_dims=(None, 0))(parameters, items)
    return gradients


def add_clipped_gradients(losses: UserLoss, items: Tensor, clip_norm: float) -> None:
    """Add the clipped gradients of these users, items [B, L + 1], to `grad`."""
    gradients = user_gradients(losses, items)
    factors = clip_factors(gradient_norms(gradients), clip_norm)
    for name, parameter in losses.named_parameters():
        assert parameter.grad is not None, "gradients begin at zero"
        parameter.grad += torch.tensordot(factors, gradients[name], dims=1)


def gradient_norms(gradients: Gradients) -> Tensor:
    """L2 norms over all parameters of each user, [B]."""
    squares = [g.flatten(1).square().sum(1) for g in gradients.values()]
    return torch.stack(squares).sum(0).sqrt()


def clip_factors(norms: Tensor, clip_norm: float) -> Tensor:
    """What gradients of these norms are multiplied by, at most 1; [B]."""
    return (clip_norm / norms.clamp_min(1e-12)).clamp_max(1.0)


def add_noise(parameters: list[nn.Parameter], mechanism: Mechanism) -> None:
    """Noise the summed gradients and divide them by the expected batch."""
    generator = os_seeded_generator()
    scale = mechanism.noise_multiplier * mechanism.clip_norm
    for parameter in parameters:
        assert parameter.grad is not None, "gradients begin at zero"
        if scale > 0:
            parameter.grad += scale * torch.randn(parameter.shape, generator=generator)
        parameter.grad /= mechanism.expected_batch
