"""Room in private training for users whose gradients are no history's.

An audit hides canaries there; training for use has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn


class UserBlock(Protocol):
    """Further users, numbered from 0 after the real ones, with parameters of theirs."""

    @property
    def num_users(self) -> int:
        """How many."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """What they alone move."""

    def add_clipped(self, users: Tensor, clip_norm: float) -> None:
        """Add the clipped gradients of these users, int64 [B], to the parameters."""


class _NoBlock:
    """Nobody."""

    num_users = 0

    def parameters(self) -> Iterable[nn.Parameter]:
        return ()

    def add_clipped(self, users: Tensor, clip_norm: float) -> None:
        assert not len(users)


NO_BLOCK: UserBlock = _NoBlock()
