"""A run that is on record, and the rows that follow from what happens in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from data_contracts.records import (
    DecisionRecord,
    ModelVersionRecord,
    RunRecord,
    RunStatus,
    Verdict,
)
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.stopwatch import now_utc
from tasks.lineage.model_files import ModelFile
from tasks.lineage.run_state import run_folder


@dataclass(frozen=True)
class RecordedRun:
    """A run that is on record.

    Attributes:
        store_folder: output folder, absolute.
        row: the row that this stretch of it began with.
        config: what it does.
        crashed_flow_runs: Prefect's names of flow runs that died with this run in their
            hands and could not say so.
    """

    store_folder: str
    row: RunRecord
    config: FederatedTrainingConfig
    crashed_flow_runs: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the states of this run lie."""
        return run_folder(self.store_folder, self.run_id)

    @property
    def attempt(self) -> int:
        """Of every secure sum in this stretch; the next number is for a second one."""
        return 2 * self.row.sequence + 1

    @property
    def run_id(self) -> str:
        """Name of the run everywhere."""
        return self.row.run_id

    @property
    def config_hash(self) -> str:
        """Hash of all settings that may change the result."""
        return self.row.config_hash

    def ended(self, status: RunStatus, message: str) -> RunRecord:
        """The last row of the run."""
        at = now_utc().isoformat()
        sequence = self.row.sequence + 1
        return replace(
            self.row, sequence=sequence, status=status, at=at, message=message
        )

    def quarantined(self, reports: Mapping[str, str]) -> tuple[DecisionRecord, ...]:
        """One decision per quarantined silo, with its report."""
        return tuple(
            DecisionRecord(
                run_id=self.run_id,
                round_number=0,
                verdict=Verdict.SILO_QUARANTINED.value,
                silo=silo,
                sentence=sentence,
            )
            for silo, sentence in reports.items()
        )

    def model_version(
        self, round_number: int, file: ModelFile, previous: ModelVersionRecord | str
    ) -> ModelVersionRecord:
        """The version that a round left behind.

        Args:
            round_number: the round.
            file: the saved model.
            previous: the version before, or the hash of a base model, or nothing.
        """
        return ModelVersionRecord(
            run_id=self.run_id,
            round_number=round_number,
            name=self.row.name,
            sha256=file.sha256,
            path=str(file.path),
            size_bytes=file.size_bytes,
            parameters=file.parameters,
            vocabulary_sha256=file.vocabulary_sha256,
            parent_sha256=_parent(file, previous),
            published=False,
            at=now_utc().isoformat(),
        )


def _parent(file: ModelFile, previous: ModelVersionRecord | str) -> str:
    """A rejected round leaves the old model behind, which is not its own parent."""
    if isinstance(previous, str):
        return previous
    kept = file.sha256 == previous.sha256
    return previous.parent_sha256 if kept else previous.sha256
