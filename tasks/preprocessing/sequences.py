"""Interactions -> ordered histories with held-out targets that cannot leak.

Pure: Arrow in, `SequenceData` out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.histories import History, ordered_histories
from models.sequences import HELD_OUT_NOTHING, SequenceData
from models.vocabulary import Vocabulary

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TimeCuts:
    """Moments that separate the windows of the global-time protocol.

    Attributes:
        validation: first second of the validation window.
        test: first second of the test window.
    """

    validation: int
    test: int


def build_sequences(
    interactions: pa.Table,
    vocabulary: Vocabulary,
    min_interactions_per_user: int,
    cuts: TimeCuts | None,
) -> SequenceData:
    """Clean, order, filter and split one silo's interactions.

    What `ordered_histories` leaves, with held out the last two items of each user (cuts
    None: leave-one-out), or the last item of each window (global time).

    Args:
        interactions: canonical columns, source order.
        vocabulary: the shared vocabulary.
        min_interactions_per_user: at least 3.
        cuts: the windows of the global-time protocol.
    """
    history = ordered_histories(interactions, vocabulary, min_interactions_per_user)
    split = leave_one_out(history) if cuts is None else by_time(history, cuts)
    return SequenceData(history.items, history.offsets, *split)


def leave_one_out(history: History) -> tuple[Ints, Ints, Ints]:
    """(train_end, validation, test): the last item tests, the one before validates."""
    lengths = np.diff(history.offsets)
    return lengths - 2, lengths - 2, lengths - 1


def by_time(history: History, cuts: TimeCuts) -> tuple[Ints, Ints, Ints]:
    """(train_end, validation, test): the last item of each window, where there is one.

    A target needs at least one earlier item; a user who starts inside a window gives
    its later items only.
    """
    users = np.repeat(np.arange(len(history.offsets) - 1), np.diff(history.offsets))
    size = len(history.offsets) - 1
    before_validation = _count(users, history.times < cuts.validation, size)
    before_test = _count(users, history.times < cuts.test, size)
    everything = np.diff(history.offsets)
    validation = _last_position(before_validation, before_test)
    return before_validation, validation, _last_position(before_test, everything)


def _count(users: Ints, chosen: NDArray[np.bool_], size: int) -> Ints:
    return np.bincount(users[chosen], minlength=size).astype(np.int64)


def _last_position(start: Ints, stop: Ints) -> Ints:
    """The last position of [start, stop), or -1 if empty or without a history."""
    last = stop - 1
    return np.where((stop > start) & (last > 0), last, HELD_OUT_NOTHING)
