"""What an audit asks of a trainer: one call, and room for canaries that are no users.

Legend: B sampled users, m Dirac canaries, j of them that joined.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from models.privacy.clipping import engine
from models.privacy.mechanism import Mechanism
from models.privacy.user_block import UserBlock
from models.recommenders.sequence_recommender import SequenceRecommender
from models.sequences import SequenceData

DIRAC_GRADIENT = 1e6
"""Far above any clip norm, so that what a canary contributes is what clipping left."""


class DiracBlock(nn.Module):
    """Coordinates beside the model, each moved by one canary and by noise alone.

    To a trainer it is one more layer and j more users, numbered after the real ones
    from 0, which it samples, clips and noises as it does users; a `UserBlock`.
    """

    def __init__(self, canaries: int, joined: Tensor) -> None:
        """Begin at zero; `joined` int64 [j] are coordinates of those that joined."""
        super().__init__()
        self.coordinates = nn.Parameter(torch.zeros(canaries))
        self.joined = joined

    @property
    def num_users(self) -> int:
        """Canaries that joined, j."""
        return len(self.joined)

    def add_clipped(self, users: Tensor, clip_norm: float) -> None:
        """Add the clipped gradients of these canaries, int64 [B]."""
        norms = torch.full((len(users),), DIRAC_GRADIENT)
        clipped = engine.clip_factors(norms, clip_norm) * DIRAC_GRADIENT
        if self.coordinates.grad is None:
            self.coordinates.grad = torch.zeros_like(self.coordinates)
        self.coordinates.grad.index_add_(0, self.joined[users], clipped)


class AuditedTrainer(Protocol):
    """Trains privately, in place."""

    def __call__(
        self,
        module: SequenceRecommender,
        data: SequenceData,
        mechanism: Mechanism,
        block: UserBlock,
    ) -> None:
        """Train the parameters of `module` and of `block` with one optimizer.

        Args:
            module: parameters set.
            data: histories, one per user.
            mechanism: what to do.
            block: further users with gradients of their own.
        """
