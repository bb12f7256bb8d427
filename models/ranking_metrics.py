"""Full-ranking metrics as sums over users, so that silos can be added up.

Every item that the user has not seen competes. Ties count half: a model whose
scores have collapsed to one value ranks in the middle, not first (Krichene & Rendle
2022 on sampled ranking; the tie rule follows their expectation argument).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class MetricSums:
    """Sums over the users of one silo (or of all); `means` makes the metrics.

    Attributes:
        users: users with a target.
        hits: targets ranked in the first k.
        gains: sum of 1 / log2(1 + rank) where rank <= k.
        reciprocal_ranks: sum of 1 / rank.
        nats: summed negative log-likelihood of the targets among the candidates.
    """

    users: float = 0.0
    hits: float = 0.0
    gains: float = 0.0
    reciprocal_ranks: float = 0.0
    nats: float = 0.0

    def means(self) -> dict[str, float]:
        """hr, ndcg, mrr and nll per user; zero users give zeros.

        >>> MetricSums(users=4, hits=2, gains=1.0, nats=8.0).means()
        {'hr': 0.5, 'ndcg': 0.25, 'mrr': 0.0, 'nll': 2.0}
        """
        per_user = 1.0 / self.users if self.users else 0.0
        return {
            "hr": self.hits * per_user,
            "ndcg": self.gains * per_user,
            "mrr": self.reciprocal_ranks * per_user,
            "nll": self.nats * per_user,
        }

    def __add__(self, other: MetricSums) -> MetricSums:
        pairs = zip(self.values(), other.values(), strict=True)
        return MetricSums(*(a + b for a, b in pairs))

    def values(self) -> tuple[float, float, float, float, float]:
        """The sums in field order."""
        return (
            self.users, self.hits, self.gains, self.reciprocal_ranks, self.nats
        )  # fmt: skip


def total(sums: Iterable[MetricSums]) -> MetricSums:
    """The sums over all silos: every user counts once, whatever silo holds them."""
    result = MetricSums()
    for one in sums:
        result = result + one
    return result


def ranks_of_targets(scores: Floats, targets: NDArray[np.integer]) -> Floats:
    """Rank of each target among the candidates, from 1; ties count half.

    Args:
        scores: [B, V]; minus infinity marks items that do not compete.
        targets: [B], indices into V.

    >>> ranks_of_targets(np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 5.0]]), np.array([2, 0]))
    array([2., 2.])
    """
    own = scores[np.arange(len(targets)), targets][:, None]
    above = (scores > own).sum(axis=1)
    level = (scores == own).sum(axis=1) - 1
    ranks: Floats = 1.0 + above + 0.5 * level
    # A score that is not a number must never look like a hit.
    ranks[np.isnan(own[:, 0])] = scores.shape[1]
    return ranks


def metric_sums(scores: Floats, targets: NDArray[np.integer], k: int) -> MetricSums:
    """Sums over the B users of a batch; see `MetricSums`.

    >>> s = metric_sums(np.array([[0.0, 2.0, 1.0]]), np.array([2]), k=10)
    >>> s.hits, round(s.gains, 3), s.reciprocal_ranks
    (1.0, 0.631, 0.5)
    """
    ranks = ranks_of_targets(scores, targets)
    hit = ranks <= k
    return MetricSums(
        users=float(len(targets)),
        hits=float(hit.sum()),
        gains=float((hit / np.log2(1.0 + ranks)).sum()),
        reciprocal_ranks=float((1.0 / ranks).sum()),
        nats=float(_nats(scores, targets).sum()),
    )


def _nats(scores: Floats, targets: NDArray[np.integer]) -> Floats:
    scores = scores.astype(np.float64)
    top = scores.max(axis=1, keepdims=True)
    log_total = top[:, 0] + np.log(np.exp(scores - top).sum(axis=1))
    nats: Floats = log_total - scores[np.arange(len(targets)), targets]
    return nats


def top_items(scores: Floats, k: int) -> NDArray[np.int64]:
    """Indices of the k best items of each user, [B, min(k, V)], in no order."""
    k = min(k, scores.shape[1])
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]
