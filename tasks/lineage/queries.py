"""What the store knows of a run.

A run that is still going may be half way through recording a round. Its rows above
the last finished round are therefore not shown: every answer is about rounds that
are complete.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TypeVar

from data_contracts.records import (
    ContractRecord,
    DecisionRecord,
    MetricRecord,
    ModelVersionRecord,
    ParticipantRecord,
    PhaseRecord,
    PrivacyRecord,
    RoundRecord,
    RunHistory,
    RunRecord,
    RunStatus,
)
from tasks.lineage.prefixes import only_match
from tasks.lineage.store import LineageStore

PerRound = TypeVar(
    "PerRound",
    ParticipantRecord,
    PhaseRecord,
    MetricRecord,
    DecisionRecord,
    ModelVersionRecord,
)


@dataclass(frozen=True)
class SettledRecords:
    """The records of complete rounds, of one run or of all.

    Attributes:
        runs: run id -> its current row.
        rounds: run id -> its finished rounds, in order.
    """

    store: LineageStore
    run_id: str | None
    runs: dict[str, RunRecord]
    rounds: dict[str, tuple[RoundRecord, ...]]

    def contracts(self) -> tuple[ContractRecord, ...]:
        """Contract results belong to a run, not to a round."""
        return self.store.read(ContractRecord, run_id=self.run_id)

    def privacy(self) -> tuple[PrivacyRecord, ...]:
        """What ledgers say belongs to a run, not to a round."""
        return self.store.read(PrivacyRecord, run_id=self.run_id)

    def of(self, record: type[PerRound]) -> tuple[PerRound, ...]:
        """Records of this type whose round is not just being recorded."""
        return tuple(
            row
            for row in self.store.read(record, run_id=self.run_id)
            if self._settled(row.run_id, row.round_number)
        )

    def _settled(self, run_id: str, round_number: int) -> bool:
        run = self.runs.get(run_id)
        if run is None:
            return False  # Started after the runs were read.
        if run.status != RunStatus.RUNNING:
            return True
        rounds = self.rounds.get(run_id, ())
        return round_number <= (rounds[-1].round_number if rounds else 0)


def settled_records(store: LineageStore, run_id: str | None = None) -> SettledRecords:
    """Fix which rounds are complete; rows read after this can only be more."""
    by_run: defaultdict[str, list[RoundRecord]] = defaultdict(list)
    runs = {row.run_id: row for row in store.read(RunRecord, run_id=run_id)}
    for row in store.read(RoundRecord, run_id=run_id):
        by_run[row.run_id].append(row)
    rounds = {run: tuple(rows) for run, rows in by_run.items()}
    return SettledRecords(store, run_id, runs, rounds)


def runs(store: LineageStore) -> tuple[RunRecord, ...]:
    """The current row of every run, the latest first."""
    current = {row.run_id: row for row in store.read(RunRecord)}
    return tuple(sorted(current.values(), key=lambda row: row.at, reverse=True))


def find_run(store: LineageStore, run_id_or_prefix: str) -> RunRecord:
    """The one run whose id starts so.

    Raises:
        NotRecordedError: there is none, or more than one.
    """
    by_id = {run.run_id: run for run in runs(store)}
    return by_id[only_match("run", run_id_or_prefix, by_id)]


def history(store: LineageStore, run_id_or_prefix: str) -> RunHistory:
    """Everything on record of one run.

    Raises:
        NotRecordedError: no run id starts so, or more than one does.
    """
    run = find_run(store, run_id_or_prefix)
    settled = settled_records(store, run.run_id)
    return RunHistory(
        run=settled.runs[run.run_id],
        contracts=settled.contracts(),
        rounds=settled.rounds.get(run.run_id, ()),
        participants=settled.of(ParticipantRecord),
        phases=settled.of(PhaseRecord),
        metrics=settled.of(MetricRecord),
        decisions=settled.of(DecisionRecord),
        models=settled.of(ModelVersionRecord),
        privacy=settled.privacy(),
    )
