"""What an audit asks of a trainer: one call, and room for canaries that are no users.

Legend: B sampled users, m Dirac canaries, j of them that joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.recommenders.sequence_recommender import SequenceRecommender
from models.sequences import SequenceData

DIRAC_GRADIENT = 1e6
"""Far above any clip norm, so that what a canary contributes is what clipping left."""


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """The public numbers of a private training.

    Attributes:
        clip_norm: L2 bound of one user's gradient.
        noise_multiplier: standard deviation of the noise over the clip norm; 0: off.
        sampling_probability: of a user in a step.
        steps: how many.
        expected_batch: by which the noised sum is divided; never a count of users.
        learning_rate: of Adam.
        context: items of a history that are read.
    """

    clip_norm: float
    noise_multiplier: float
    sampling_probability: float
    steps: int
    expected_batch: float
    learning_rate: float
    context: int


class DiracBlock(nn.Module):
    """Coordinates beside the model, each moved by one canary and by noise alone.

    To a trainer it is one more layer and j more users, numbered after the real ones
    from 0: it tells their gradient norms and adds their gradients once clipped. The
    trainer samples, clips and noises them as it does users.
    """

    def __init__(self, canaries: int, joined: Tensor) -> None:
        """Begin at zero; `joined` int64 [j] are the coordinates of those that joined."""
        super().__init__()
        self.coordinates = nn.Parameter(torch.zeros(canaries))
        self.joined = joined

    @property
    def num_users(self) -> int:
        """Canaries that joined, j."""
        return len(self.joined)

    def norms(self, users: Tensor) -> Tensor:
        """L2 norms of the gradients of these canaries, [B]."""
        return torch.full((len(users),), DIRAC_GRADIENT)

    def add_clipped(self, users: Tensor, factors: Tensor) -> None:
        """Add gradients times `factors` [B] to the gradient of the coordinates."""
        assert self.coordinates.grad is not None, "the trainer sets gradients to zero"
        self.coordinates.grad.index_add_(
            0, self.joined[users], factors * DIRAC_GRADIENT
        )


class AuditedTrainer(Protocol):
    """Trains privately, in place."""

    def __call__(
        self,
        module: SequenceRecommender,
        data: SequenceData,
        mechanism: Mechanism,
        block: DiracBlock,
    ) -> None:
        """Train the parameters of `module` and of `block` with one optimizer.

        Args:
            module: parameters set.
            data: histories, one per user.
            mechanism: what to do.
            block: further users with gradients of their own.
        """
