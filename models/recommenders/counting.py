"""Recommenders that are counts: popularity and a lagged Markov chain.

Their counts are plain sums over users, so a secure sum over silos gives *exactly* the
model that pooled data would give, in one round. The Markov chain is the baseline that
embarrasses people: on MovieLens-1M it beats much published work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.sequences import SequenceData

# Weights of the 1st, 2nd and 3rd last item; 6 : 3 : 2 is 1 : 1/2 : 1/3 in integers,
# so that silos can be summed exactly.
LAG_WEIGHTS = (6, 3, 2)
SHRINKAGE = 20.0 * LAG_WEIGHTS[0]


def popularity_counts(data: SequenceData, num_items: int) -> NDArray[np.int64]:
    """How often each item occurs in the training histories, int64 [V]."""
    return np.bincount(data.training_items(), minlength=num_items)


def transition_counts(data: SequenceData, num_items: int) -> NDArray[np.int64]:
    """Weighted counts of item j following item i within three steps, [V, V].

    >>> import numpy as np
    >>> a, n = np.array([0, 1, 2], np.int32), np.array([-1])
    >>> d = SequenceData(a, np.array([0, 3]), np.array([3]), n, n)
    >>> transition_counts(d, 3).tolist()
    [[0, 6, 3], [0, 0, 6], [0, 0, 0]]
    """
    counts = np.zeros(num_items * num_items, dtype=np.int64)
    for user in range(data.num_users):
        history = data.training_history(user).astype(np.int64)
        for lag, weight in enumerate(LAG_WEIGHTS, start=1):
            pairs = history[:-lag] * num_items + history[lag:]
            np.add.at(counts, pairs, weight)
    return counts.reshape(num_items, num_items)


@dataclass(frozen=True)
class MarkovChain:
    """Scores the next item by what followed the last three.

    Attributes:
        probabilities: float32 [V, V]; row i: shrunk shares of what follows item i.
        popularity: float32 [V]; breaks ties among items never seen to follow.
    """

    probabilities: NDArray[np.float32]
    popularity: NDArray[np.float32]

    @classmethod
    def from_counts(
        cls, transitions: NDArray[np.int64], popularity: NDArray[np.int64]
    ) -> MarkovChain:
        """Rows are divided by their sum plus a shrinkage of 20 transitions."""
        rows = transitions.sum(axis=1, keepdims=True) + SHRINKAGE
        shares = popularity / max(popularity.sum(), 1)
        return cls((transitions / rows).astype(np.float32), shares.astype(np.float32))

    def score(self, history: NDArray[np.int32]) -> NDArray[np.float32]:
        """Scores of all items after `history`, float32 [V]."""
        scores = 1e-3 * self.popularity
        for weight, item in zip(LAG_WEIGHTS, history[::-1], strict=False):
            scores = scores + weight * self.probabilities[item]
        return scores
