"""How many neighbours a silo needs when not every pair can share a mask.

Above `MOST_COMPLETE` silos, each shares masks and secrets with k neighbours on a random
k-regular graph only (Bell et al. 2020, "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead", section 3). k and the share threshold are the smallest for
which, if at most `COLLUDING` of the silos work with the coordinator and at most
`VANISHING` vanish, all of this fails with a probability below the bounds here:

* no silo has as many colluding neighbours as open its secrets;
* the honest silos that stay hang together, so that only the sum of all is opened;
* every silo has enough neighbours left to open what must be opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import comb

MOST_COMPLETE = 200
COLLUDING = 0.2
VANISHING = 0.1
PRIVACY_BITS = 40
CORRECTNESS_BITS = 20


@dataclass(frozen=True)
class MaskGraph:
    """Who shares masks with whom, up to the shuffle.

    Attributes:
        neighbours: k, even; 0: every pair.
        threshold: shares that open a secret of one silo.
    """

    neighbours: int
    threshold: int


def usual_neighbours(num_silos: int) -> int:
    """K for so many silos; 0 while every pair can share a mask."""
    return 0 if num_silos <= MOST_COMPLETE else sparse_graph(num_silos).neighbours


@cache
def sparse_graph(num_silos: int) -> MaskGraph:
    """The smallest graph that holds the bounds for so many silos.

    >>> sparse_graph(1000)
    MaskGraph(neighbours=68, threshold=43)

    Raises:
        ValueError: so few silos that only the complete graph does.
    """
    colluding, vanishing = (int(share * num_silos) for share in (COLLUDING, VANISHING))
    for k in range(2, num_silos - 1, 2):
        if not _hangs_together(num_silos, colluding + vanishing, k):
            continue
        threshold = _private_threshold(num_silos, colluding, k)
        if threshold and _can_be_opened(num_silos, vanishing, k, threshold):
            return MaskGraph(k, threshold)
    raise ValueError(f"{num_silos} silos need the complete graph")


def _private_threshold(n: int, colluding: int, k: int) -> int:
    """Fewest shares that colluding neighbours of no silo hold; 0: there is none."""
    allowed, ways = comb(n - 1, k) >> PRIVACY_BITS, 0
    for held in range(min(k, colluding), -1, -1):
        ways += comb(colluding, held) * comb(n - 1 - colluding, k - held)
        if n * ways > allowed:
            return held + 1 if held < k else 0
    return 1


def _can_be_opened(n: int, vanishing: int, k: int, threshold: int) -> bool:
    """Whether every silo keeps `threshold` of its k neighbours."""
    ways = sum(
        comb(vanishing, gone) * comb(n - 1 - vanishing, k - gone)
        for gone in range(k - threshold + 1, min(k, vanishing) + 1)
    )
    return n * ways <= comb(n - 1, k) >> CORRECTNESS_BITS


def _hangs_together(n: int, missing: int, k: int) -> bool:
    """Whether no k / 2 silos in a row are missing on the shuffled ring.

    Two gaps of that length are needed to cut a ring on which each silo reaches k / 2
    others to either side; one is bounded here.
    """
    return n * comb(missing, k // 2) << PRIVACY_BITS <= comb(n, k // 2)
