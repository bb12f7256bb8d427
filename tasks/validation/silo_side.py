"""The two steps of this room inside a silo: check the tables, keep the snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from data_contracts.columns import TableName
from data_contracts.errors import ContractFailedError
from data_contracts.expectations.interactions import interactions_suite
from data_contracts.expectations.items import items_suite
from data_contracts.expectations.snapshot import SnapshotFact, snapshot_suite
from data_contracts.expectations.suite import Suite
from data_contracts.expectations.users import users_suite
from data_contracts.settings.data import ContractConfig
from data_contracts.tables import SiloTables
from data_contracts.workspace import SiloWorkspace
from tasks.validation.accepted_snapshot import read_accepted, write_accepted
from tasks.validation.profile import (
    SnapshotProfile,
    profile_tables,
    snapshot_facts,
)
from tasks.validation.results import ExpectationResult
from tasks.validation.runner import Outcome, run_suite
from tasks.validation.safe_counts import safe_count


@dataclass(frozen=True)
class ValidatedSnapshot:
    """The profile of the tables at hand, and whether they keep the contract."""

    profile: SnapshotProfile
    passed: bool


def validate_tables(
    workspace: SiloWorkspace, contracts: ContractConfig, now_seconds: int
) -> tuple[ExpectationResult, ...]:
    """Check every table of this silo, and the snapshot as a whole.

    Args:
        workspace: holds the silo's `SiloTables`.
        contracts: bounds of the data contract.
        now_seconds: latest valid timestamp, in seconds since 1970-01-01 UTC.

    Raises:
        SiloInputError: the last accepted snapshot's profile cannot be read.
    """
    tables = workspace.get(SiloTables)
    accepted = read_accepted(workspace.folder)
    profile = profile_tables(tables)
    results = (
        *_check_tables(tables, contracts, now_seconds),
        *_check_snapshot(profile, accepted, contracts),
    )
    passed = all(result.success for result in results)
    workspace.put(ValidatedSnapshot(profile, passed))
    return results


def accept_snapshot(workspace: SiloWorkspace) -> None:
    """Remember the validated snapshot: the next one's drift is measured against it.

    Raises:
        ContractFailedError: the tables did not keep the contract.
    """
    validated = workspace.get(ValidatedSnapshot)
    if not validated.passed:
        raise ContractFailedError(
            f"silo {workspace.silo} keeps its last accepted snapshot: the tables at "
            "hand break the data contract"
        )
    write_accepted(workspace.folder, validated.profile)


def _check_tables(
    tables: SiloTables, contracts: ContractConfig, now_seconds: int
) -> Iterator[ExpectationResult]:
    suites = {
        TableName.INTERACTIONS: interactions_suite(contracts, now_seconds),
        TableName.ITEMS: items_suite(),
        TableName.USERS: users_suite(),
    }
    for name, table in tables.tables.items():
        suite = suites[name].for_columns(table.column_names)
        for outcome in run_suite(suite, table):
            rows = outcome.breaking_rows if contracts.tell_counts else None
            yield _result(suite, outcome, rows)


def _check_snapshot(
    profile: SnapshotProfile,
    accepted: SnapshotProfile | None,
    contracts: ContractConfig,
) -> Iterator[ExpectationResult]:
    # One row holds all facts, so rows are counted only where the fact is such a count.
    rows: Mapping[str, int | None] = {
        SnapshotFact.UNKNOWN_ITEM: profile.unknown_item_rows,
        SnapshotFact.UNKNOWN_USER: profile.unknown_user_rows,
    }
    facts: pa.Table = snapshot_facts(profile, accepted)
    suite = snapshot_suite(contracts)
    for outcome in run_suite(suite, facts):
        counted = rows.get(outcome.expectation.column)
        yield _result(suite, outcome, counted if contracts.tell_counts else None)


def _result(
    suite: Suite, outcome: Outcome, breaking_rows: int | None
) -> ExpectationResult:
    return ExpectationResult(
        suite=suite.name,
        suite_version=suite.version,
        table=suite.table,
        column=outcome.expectation.subject,
        kind=outcome.expectation.kind,
        allowed=outcome.expectation.allowed,
        success=outcome.success,
        count=safe_count(breaking_rows),
    )
