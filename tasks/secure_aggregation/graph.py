"""Who shares masks and secrets with whom in one aggregation (PROTOCOL.md, 6)."""

from __future__ import annotations

from data_contracts.secure_aggregation import Roster
from tasks.secure_aggregation.context import Domain, digest, roster_hash


class Graph:
    """The complete graph on U1, or a k-regular ring in an order nobody chose.

    The order is that of a hash of all keys in U1 and the name, so it is fixed only when
    every silo has published its keys (Bell et al. 2020, section 3).

    Args:
        roster: U1.
        neighbours: k, even; 0: every pair.
    """

    def __init__(self, roster: Roster, neighbours: int) -> None:
        self._silos = roster.silos
        self._reach = neighbours // 2
        self._complete = neighbours == 0 or neighbours >= len(self._silos) - 1
        if not self._complete:
            seed = roster_hash(roster)
            ring = sorted(self._silos, key=lambda s: digest(Domain.GRAPH, seed, s))
            self._place = {silo: place for place, silo in enumerate(ring)}

    def circle(self, silo: str) -> tuple[str, ...]:
        """The silo and its neighbours, in order of seats."""
        if self._complete:
            return self._silos
        return tuple(other for other in self._silos if self._near(silo, other))

    def _near(self, silo: str, other: str) -> bool:
        apart = (self._place[silo] - self._place[other]) % len(self._silos)
        return min(apart, len(self._silos) - apart) <= self._reach
