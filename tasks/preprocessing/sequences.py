"""Interactions -> ordered histories with held-out targets that cannot leak.

Pure: Arrow in, `SequenceData` out. Ties in time keep the order of the source (stable
sort): on MovieLens-1M another tie order changes a quarter of all targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.columns import Column
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


@dataclass(frozen=True)
class History:
    """Interactions of kept users, by user, then time, then source order.

    Attributes:
        items: int32 [N].
        times: int64 [N], seconds.
        offsets: int64 [U + 1].
    """

    items: NDArray[np.int32]
    times: Ints
    offsets: Ints


def build_sequences(
    interactions: pa.Table,
    vocabulary: Vocabulary,
    min_interactions_per_user: int,
    cuts: TimeCuts | None,
) -> SequenceData:
    """Clean, order, filter and split one silo's interactions.

    1. drop items outside the vocabulary and exact repeats (user, item, time);
    2. order by user and time, ties by source order;
    3. drop users with too few interactions left;
    4. hold out: the last two items of each user (cuts None: leave-one-out), or the
       last item of each window (global time).

    Args:
        interactions: canonical columns, source order.
        vocabulary: the shared vocabulary.
        min_interactions_per_user: at least 3.
        cuts: the windows of the global-time protocol.
    """
    history = ordered_histories(interactions, vocabulary, min_interactions_per_user)
    split = leave_one_out(history) if cuts is None else by_time(history, cuts)
    return SequenceData(history.items, history.offsets, *split)


def ordered_histories(
    interactions: pa.Table, vocabulary: Vocabulary, min_interactions_per_user: int
) -> History:
    """Steps 1 to 3 of `build_sequences`."""
    item = _indices(interactions[Column.ITEM], pa.array(vocabulary.items, pa.string()))
    user = _indices(interactions[Column.USER], pc.unique(interactions[Column.USER]))
    time = interactions[Column.TIMESTAMP].to_numpy().astype(np.int64)
    known = np.flatnonzero(item >= 0)
    kept = known[_first_occurrences(user[known], item[known], time[known])]
    order = kept[np.lexsort((time[kept], user[kept]))]  # stable
    counts = np.bincount(user[order])
    order = order[counts[user[order]] >= min_interactions_per_user]
    lengths = counts[counts >= min_interactions_per_user]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return History(item[order].astype(np.int32), time[order], offsets)


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


def _indices(values: pa.ChunkedArray, among: pa.Array) -> Ints:
    """Position of each value in `among`, int64; -1 where absent."""
    found = pc.fill_null(pc.index_in(values, value_set=among), -1)
    return np.asarray(found.to_numpy(), dtype=np.int64)


def _first_occurrences(user: Ints, item: Ints, time: Ints) -> Ints:
    """Indices of rows that do not repeat an earlier row, ascending."""
    order = np.lexsort((time, item, user))
    rows = np.stack([user[order], item[order], time[order]])
    new = np.ones(len(order), dtype=bool)
    new[1:] = (rows[:, 1:] != rows[:, :-1]).any(axis=0)
    return np.sort(order[new])
