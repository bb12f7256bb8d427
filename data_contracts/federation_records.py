"""What monitoring looks at: one federation's runs, the latest of them in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from data_contracts.records import (
    ModelStageRecord,
    ModelVersionRecord,
    PrivacyRecord,
    RoundRecord,
    RunHistory,
    RunRecord,
    RunStatus,
)


@dataclass(frozen=True)
class FederationRecords:
    """A federation as it is on record at one moment.

    Attributes:
        federation: name of its runs.
        runs: current row of every run, the latest first; never empty.
        rounds: finished rounds of all runs.
        latest: everything on record of the latest run.
        privacy: silo -> what its ledger said last.
        stages: hash of a model -> the stage that counts.
        champion: the model in use.
    """

    federation: str
    runs: tuple[RunRecord, ...]
    rounds: tuple[RoundRecord, ...]
    latest: RunHistory
    privacy: Mapping[str, PrivacyRecord]
    stages: Mapping[str, ModelStageRecord]
    champion: ModelVersionRecord | None

    @property
    def last_round(self) -> RoundRecord | None:
        """The last finished round of the latest run."""
        return self.latest.rounds[-1] if self.latest.rounds else None

    @property
    def last_success(self) -> RunRecord | None:
        """The latest run that got to its end."""
        done = (run for run in self.runs if run.status == RunStatus.COMPLETED)
        return max(done, key=lambda run: run.at, default=None)
