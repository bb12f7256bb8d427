"""Ranking every unseen item for every held-out target of one silo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ranking_metrics import MetricSums, metric_sums, top_items
from models.sequences import SequenceData, Window
from models.vocabulary import StockedItems

USERS_PER_BATCH = 256

Floats = NDArray[np.floating]
Scorer = Callable[[list[NDArray[np.int32]]], Floats]


@dataclass(frozen=True)
class Ranking:
    """What a scorer achieved on one silo's held-out targets.

    Attributes:
        sums: metric sums over the silo's users.
        recommended: bool [V]; items that stood in anybody's first k.
    """

    sums: MetricSums
    recommended: NDArray[np.bool_]


def rank_held_out(
    score: Scorer, data: SequenceData, window: Window, stocked: StockedItems, k: int
) -> Ranking:
    """Rank all stocked items that a user has not seen, for each held-out target.

    Args:
        score: histories -> scores [B, V] of every item of the vocabulary.
        data: the silo's sequences.
        window: which targets.
        stocked: the items that compete; the target always does.
        k: cut-off.
    """
    sums, recommended = MetricSums(), np.zeros(len(stocked.mask), dtype=bool)
    users = data.held_out_users(window)
    for start in range(0, len(users), USERS_PER_BATCH):
        questions = [
            data.question(user, window)
            for user in users[start : start + USERS_PER_BATCH]
        ]
        histories = [history for history, _ in questions]
        targets = np.array([target for _, target in questions])
        scores = np.array(score(histories), dtype=np.float32)
        own = scores[np.arange(len(targets)), targets]
        scores[:, ~stocked.mask] = -np.inf
        for row, history in enumerate(histories):
            scores[row, history] = -np.inf  # seen items do not compete
        scores[np.arange(len(targets)), targets] = own
        sums = sums + metric_sums(scores, targets, k)
        first = top_items(scores, k)
        # Where fewer than k items compete, the others are in nobody's first k.
        competing = np.take_along_axis(scores, first, axis=1) > -np.inf
        recommended[first[competing]] = True
    return Ranking(sums, recommended)
