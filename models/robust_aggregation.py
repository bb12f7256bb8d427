"""Combining updates of which some may be lies, instead of averaging them.

Coordinate-wise median and trimmed mean: Yin et al. 2018, "Byzantine-Robust Distributed
Learning" (ICML, definitions 1 and 2). Krum: Blanchard et al. 2017, "Machine Learning
with Adversaries" (NeurIPS, section 4). Norm bound: Sun et al. 2019, "Can You Really
Backdoor Federated Learning?" (section 5), with the bound taken from the updates.

All take p updates, each float64 [d] and finite (they come out of an integer ring), and
none depends on their order. Weights play no role: a claimed weight can be a lie too.

| rule | withstands | at least |
|---|---|---|
| `median` | fewer than half of the updates | 2f + 1 |
| `trimmed_mean` | f updates | 2f + 1 |
| `krum` | f updates | 2f + 3 |

with f lying updates. Left out: what no such rule can do, which is to notice an update
that looks like the honest ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Updates = Sequence[Floats]

_COLUMNS = 32_768  # of each update at a time; ten updates stay in the cache


def median(updates: Updates) -> Floats:
    """Coordinate-wise median [d]; of an even number, the mean of the middle two.

    >>> median([np.array([1.0, 0.0]), np.array([2.0, 9.0]), np.array([9.0, 1.0])])
    array([2., 1.])
    """
    return _by_columns(updates, lambda part: np.median(part, axis=0))


def trimmed_mean(updates: Updates, trim: int) -> Floats:
    """Coordinate-wise mean [d] without the `trim` largest and smallest values.

    >>> trimmed_mean([np.array([x]) for x in (-1000.0, 1.0, 2.0, 6.0, 1000.0)], 1)
    array([3.])

    Raises:
        ValueError: nothing would be left.
    """
    if not 0 <= 2 * trim < len(updates):
        raise ValueError(
            f"trim {trim} must lie between 0 and less than half of {len(updates)}"
        )
    kept = slice(trim, len(updates) - trim)
    return _by_columns(updates, lambda part: np.sort(part, axis=0)[kept].mean(axis=0))


def krum(updates: Updates, attackers: int) -> int:
    """Which update lies closest to its p - f - 2 nearest others.

    At a tie, the one whose own values are smallest in lexical order, so that the chosen
    update does not depend on the order of the updates.

    Args:
        updates: p of them.
        attackers: f, how many may be lies.

    Raises:
        ValueError: fewer than 2f + 3 updates.
    """
    count = len(updates)
    if attackers < 0 or count < 2 * attackers + 3:
        raise ValueError(
            f"krum against {attackers} attackers needs {2 * attackers + 3} updates, "
            f"got {count}"
        )
    distances = np.sort(_square_distances(updates), axis=1)
    scores = distances[:, 1 : count - attackers - 1].sum(axis=1)  # 0 is itself
    best: list[int] = np.flatnonzero(scores == scores.min()).tolist()
    return min(best, key=lambda i: updates[i].tolist()) if len(best) > 1 else best[0]


def l2_norm(vector: NDArray[np.floating]) -> float:
    """L2 norm in double precision."""
    # No BLAS: its threads spin on for longer than the whole sum takes.
    return float(np.sqrt(np.einsum("i,i->", vector, vector, dtype=np.float64)))


def norm_factors(norms: Sequence[float], bound: float) -> Floats:
    """What each update [p] is to be multiplied by: 1, or less beyond the bound.

    The bound is `bound` times the median norm, so at least half of the updates keep
    their length whatever the others claim.

    >>> norm_factors([1.0, 2.0, 400.0], 2.0)
    array([1.  , 1.  , 0.01])
    """
    lengths = np.asarray(norms, dtype=np.float64)
    limit = bound * float(np.median(lengths))
    factors = np.ones(len(lengths))
    beyond = lengths > limit
    factors[beyond] = limit / lengths[beyond]
    return factors


def _by_columns(updates: Updates, reduce: Callable[[Floats], Floats]) -> Floats:
    result = np.empty(len(updates[0]))
    for lo in range(0, len(result), _COLUMNS):
        columns = slice(lo, lo + _COLUMNS)
        result[columns] = reduce(np.stack([update[columns] for update in updates]))
    return result


def _square_distances(updates: Updates) -> Floats:
    """[p, p], from differences: exact zeros between equal updates."""
    count = len(updates)
    squares = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            squares[i, j] = squares[j, i] = _square_distance(updates[i], updates[j])
    return squares


def _square_distance(one: Floats, other: Floats) -> float:
    total = 0.0
    for lo in range(0, len(one), _COLUMNS):
        apart = one[lo : lo + _COLUMNS] - other[lo : lo + _COLUMNS]
        total += float(np.einsum("i,i->", apart, apart))
    return total
