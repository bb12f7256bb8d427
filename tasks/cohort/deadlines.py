"""How long to wait for a step of a silo: by what that silo took itself before.

The rule never compares silos: one that is ten times as slow as the others has ten times
as much time, so who is left out says nothing about how large or fast a silo is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from data_contracts.settings.cohort import CohortConfig

Work = tuple[str, str]
"""Name of the step, and what else its time depends on, such as what is summed."""


@dataclass
class Deadlines:
    """What was learned in a run; seconds throughout.

    Attributes:
        longest: for a step that a silo has not done before.
        shortest: whatever a silo took before.
        factor: so many times the longest that the silo took before.
    """

    longest: float
    shortest: float
    factor: float
    _took: dict[tuple[str, Work], float] = field(default_factory=dict)

    @classmethod
    def of(cls, config: CohortConfig) -> Deadlines:
        """Those that the settings ask for, with nothing learned yet."""
        return cls(
            config.deadline_seconds,
            config.shortest_deadline_seconds,
            config.deadline_factor,
        )

    def learn(self, silo: str, work: Work, seconds: float) -> None:
        """The silo has done this in so many seconds."""
        self._took[silo, work] = max(seconds, self._took.get((silo, work), 0.0))

    def seconds(self, silo: str, work: Work) -> float:
        """How long to wait for it now.

        >>> deadlines = Deadlines(longest=3600, shortest=60, factor=5)
        >>> deadlines.learn("north", ("train_round", ""), 30)
        >>> [deadlines.seconds(s, ("train_round", "")) for s in ("north", "south")]
        [150, 3600]
        """
        took = self._took.get((silo, work))
        if took is None:
            return self.longest
        return min(self.longest, max(self.shortest, self.factor * took))
