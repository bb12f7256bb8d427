"""How silos voted on a candidate: what the evaluation counts and acceptance judges."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VoteCount:
    """Votes on one candidate; a single silo's ballot is a count of one or none.

    Attributes:
        against: silos for which the candidate is worse than the last accepted model.
        cast: silos that voted; those without held-out users abstain.
    """

    against: int
    cast: int

    def possible(self, silos: int) -> bool:
        """Whether so many silos can have voted like this if none of them lied."""
        return 0 <= self.against <= self.cast <= silos

    @property
    def rejects(self) -> bool:
        """More than half of the votes are against it, or nobody voted.

        >>> [VoteCount(a, 4).rejects for a in (1, 2, 3)], VoteCount(0, 0).rejects
        ([False, False, True], True)
        """
        return 2 * self.against > self.cast or self.cast == 0
