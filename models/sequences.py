"""User histories as flat arrays, with what may be trained on and what is held out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

HELD_OUT_NOTHING = -1


class Window(StrEnum):
    """Which held-out target of a user is meant."""

    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class SequenceData:
    """Histories of U users over a vocabulary of V items, oldest item first.

    User u's items are `items[offsets[u]:offsets[u + 1]]`; positions below count
    from the user's own start. For every user
    `train_end <= validation position < test position` where these exist, so no
    held-out item can reach training.

    Attributes:
        items: int32 [N], item indices 0..V-1.
        offsets: int64 [U + 1].
        train_end: int64 [U]; the first `train_end` items may be trained on.
        validation: int64 [U]; position of the target, or -1.
        test: int64 [U]; position of the target, or -1.
    """

    items: NDArray[np.int32]
    offsets: NDArray[np.int64]
    train_end: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.train_end)

    @property
    def num_examples(self) -> int:
        """Next-item targets in training: every training item but a user's first."""
        return int(np.maximum(self.train_end - 1, 0).sum())

    def training_history(self, user: int) -> NDArray[np.int32]:
        """The items of one user that may be trained on."""
        start = self.offsets[user]
        return self.items[start : start + self.train_end[user]]

    def training_items(self) -> NDArray[np.int32]:
        """All training items of all users, one after the other."""
        return np.concatenate(
            [self.training_history(user) for user in range(self.num_users)]
            or [np.empty(0, np.int32)]
        )

    def targets(self, window: Window) -> NDArray[np.int64]:
        """Positions of the window's targets, int64 [U]; -1 where there is none."""
        return self.test if window is Window.TEST else self.validation

    def held_out_users(self, window: Window) -> NDArray[np.int64]:
        """Indices of the users who have a target in the window."""
        return np.flatnonzero(self.targets(window) != HELD_OUT_NOTHING)

    def question(self, user: int, window: Window) -> tuple[NDArray[np.int32], int]:
        """(history, target): everything before the target, and the target."""
        start, position = self.offsets[user], self.targets(window)[user]
        return self.items[start : start + position], int(self.items[start + position])


def right_padded(
    histories: list[NDArray[np.int32]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stack histories of different length.

    Right padding with item 0 needs no attention mask: under a causal mask no real
    position can see a later one, and padded positions are never scored.

    Returns:
        (items int64 [B, L], lengths int64 [B]) with L the longest history.
    """
    lengths = np.array([len(history) for history in histories], dtype=np.int64)
    items = np.zeros((len(histories), int(lengths.max(initial=1))), dtype=np.int64)
    for row, history in enumerate(histories):
        items[row, : len(history)] = history
    return items, lengths
