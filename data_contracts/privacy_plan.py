"""What a private run is going to do to people's data, as events."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from data_contracts.privacy_events import GaussianEvent


@dataclass(frozen=True)
class PrivacyPlan:
    """The events of one run in one silo, fixed before its first step.

    Attributes:
        training: the steps.
        popularity: noise multiplier of the noisy item counts; None: not released.
        metrics: noise multiplier of the noisy test metrics; None: not released.
    """

    training: GaussianEvent
    popularity: float | None = None
    metrics: float | None = None

    @property
    def releases(self) -> tuple[GaussianEvent, ...]:
        """Everything but the training."""
        noise = (self.popularity, self.metrics)
        return tuple(GaussianEvent(n, 1.0, 1) for n in noise if n is not None)

    @property
    def events(self) -> tuple[GaussianEvent, ...]:
        """All of it."""
        return (self.training, *self.releases)

    def as_json(self) -> dict[str, Any]:
        """For a record; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> PrivacyPlan:
        """The inverse of `as_json`."""
        training = GaussianEvent(**told["training"])
        return cls(training, told["popularity"], told["metrics"])


@dataclass(frozen=True)
class BudgetStatement:
    """What a silo tells of its ledger; public, as is all that it is made from.

    Attributes:
        silo: whose ledger.
        epsilon: spent in the period, the running intent included.
        budget: of the period.
        delta: fixed for life.
        entries: in the ledger.
        head: hash of the last entry.
    """

    silo: str
    epsilon: float
    budget: float
    delta: float
    entries: int
    head: str

    @property
    def nearly_spent(self) -> bool:
        """Whether people should plan for the end of the budget."""
        return self.epsilon >= NEARLY_SPENT_SHARE * self.budget


NEARLY_SPENT_SHARE = 0.8
NEARLY_SPENT_EVENT = "silorec.privacy-budget.nearly-spent"
"""What Prefect's automations wait for."""


@dataclass(frozen=True)
class ChargedPlan:
    """On a silo's shelf while a run is charged and not settled: only then it trains."""

    plan: PrivacyPlan
