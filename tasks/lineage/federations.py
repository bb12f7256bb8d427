"""All federations of a store, as monitoring looks at them."""

from __future__ import annotations

from collections import defaultdict

from data_contracts.federation_records import FederationRecords
from data_contracts.records import PrivacyRecord, RoundRecord, RunRecord
from tasks.lineage.queries import history, runs
from tasks.lineage.registry import read_registry
from tasks.lineage.store import LineageStore


def federation_records(store: LineageStore) -> tuple[FederationRecords, ...]:
    """Every federation that has a run on record, by name.

    Raises:
        LineageError: the store cannot be read.
    """
    by_name: defaultdict[str, list[RunRecord]] = defaultdict(list)
    for run in runs(store):
        by_name[run.name].append(run)
    rounds, privacy = store.read(RoundRecord), store.read(PrivacyRecord)
    return tuple(
        _records_of(store, tuple(by_name[name]), rounds, privacy)
        for name in sorted(by_name)
    )


def _records_of(
    store: LineageStore,
    own_runs: tuple[RunRecord, ...],
    rounds: tuple[RoundRecord, ...],
    privacy: tuple[PrivacyRecord, ...],
) -> FederationRecords:
    own = {run.run_id for run in own_runs}
    registry = read_registry(store, own_runs[0].name)
    told = sorted((row for row in privacy if row.run_id in own), key=lambda row: row.at)
    return FederationRecords(
        federation=own_runs[0].name,
        runs=own_runs,
        rounds=tuple(row for row in rounds if row.run_id in own),
        latest=history(store, own_runs[0].run_id),
        privacy={row.silo: row for row in told},
        stages=registry.standing,
        champion=registry.champion,
    )
