"""How well items are recommended that nobody in a silo has used in training.

Day one of an item: a silo stocks it, and no training history of its people holds it.
The other silos may know it, or nobody. Popularity, which ranks such an item by what the
other silos counted, is what to compare with. Leaves out: training.

Shape legend: V items.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.full_ranking import Scorer, rank_held_out
from models.ranking_metrics import MetricSums
from models.sequences import HELD_OUT_NOTHING, SequenceData, Window
from models.vocabulary import StockedItems

Booleans = NDArray[np.bool_]


def untrained_items(data: SequenceData, num_items: int) -> Booleans:
    """Items that stand in no training history of a silo, bool [V]."""
    counts = np.bincount(data.training_items(), minlength=num_items)
    return np.asarray(counts == 0)


def asking_for(data: SequenceData, items: Booleans) -> SequenceData:
    """The same histories, held-out targets only where they are among `items` [V].

    >>> read, one, two = np.array([0, 1, 2], np.int32), np.array([1]), np.array([2])
    >>> user = SequenceData(read, np.array([0, 3]), one, one, two)
    >>> asked = asking_for(user, np.array([False, False, True]))
    >>> asked.validation.tolist(), asked.test.tolist()
    ([-1], [2])
    """
    kept = {}
    for window in Window:
        positions = data.targets(window)
        asked = np.flatnonzero(positions != HELD_OUT_NOTHING)
        wanted = items[data.items[data.offsets[asked] + positions[asked]]]
        kept[window] = np.full_like(positions, HELD_OUT_NOTHING)
        kept[window][asked[wanted]] = positions[asked[wanted]]
    return replace(data, validation=kept[Window.VALIDATION], test=kept[Window.TEST])


def rank_cold_targets(
    score: Scorer, data: SequenceData, window: Window, stocked: StockedItems, k: int
) -> MetricSums:
    """Metric sums over the users whose target is cold in this silo.

    All that the silo stocks competes, as in every evaluation; of most silos, few people
    have such a target.

    Args:
        score: histories -> scores [B, V].
        data: the silo's sequences.
        window: which targets.
        stocked: the items that compete.
        k: cut-off.
    """
    cold = asking_for(data, untrained_items(data, len(stocked.mask)))
    return rank_held_out(score, cold, window, stocked, k).sums
