"""Whether every row that was ever written is in its table, once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from data_contracts.errors import LineageError
from data_contracts.health import Finding, Severity
from data_contracts.records import (
    KEYS,
    ContractRecord,
    MetricRecord,
    ModelVersionRecord,
    ParticipantRecord,
    Record,
    RoundRecord,
    RunRecord,
)
from tasks.lineage.delta_log import DeltaLog, read_log
from tasks.lineage.log_health import existing_tables
from tasks.lineage.merging import table_lock
from tasks.lineage.repeated_rows import superfluous_files, take_out
from tasks.lineage.schema import LineageTable, from_rows
from tasks.lineage.store import SURELY_DEAD_SECONDS, LineageStore

CHECK = "lineage-rows"
Rows = dict[type[Record], tuple[Any, ...]]


def read_all(folder: Path) -> tuple[Rows, tuple[Finding, ...]]:
    """Every table as it stands, and a finding for each that cannot be read.

    Unlike the store, this neither creates nor completes anything.
    """
    found: Rows = {}
    findings: list[Finding] = []
    # The tables that are written last come first: what they speak of is then there.
    for table, place in reversed(existing_tables(folder)):
        try:
            found[table.record] = _rows(table, place)
        except (DeltaError, OSError, pa.ArrowException, TypeError, LineageError):
            findings += _unreadable(table, place)
    return found, tuple(findings)


def row_findings(folder: Path, rows: Rows) -> Iterator[Finding]:
    """Rows that are missing or there twice, in tables that can be read."""
    for table, place in existing_tables(folder):
        if table.record in rows:
            keys = Counter(map(_key(table.record), rows[table.record]))
            yield from _repeated(table, place, keys)
            yield from lost_rows(folder, table, read_log(place), frozenset(keys))
    yield from _incomplete_rounds(folder, rows)


def lost_rows(
    folder: Path, table: LineageTable, log: DeltaLog, present: frozenset[Any]
) -> Iterator[Finding]:
    """Data files that no entry names, whose rows are in no other file either.

    A writer that died after its data file and before its entry leaves one as well, but
    its rows are written again from the write-ahead file, so that they are not lost.
    """
    for path in sorted(log.folder.glob("*.parquet")):
        if path.name in log.mentioned:
            continue
        records = _records_in(table, path)
        if not records or not present.isdisjoint(map(_key(table.record), records)):
            continue
        run_id = records[0].run_id
        if _age_seconds(path) < SURELY_DEAD_SECONDS:
            yield Finding(
                check=CHECK,
                where=str(path),
                sentence=f"{len(records)} rows of run {run_id} in data file {path} are "
                f"not in lineage table {table.name} yet; if no run is writing them, "
                "look again in a minute",
                severity=Severity.NOTE,
            )
        else:
            yield Finding(
                check=CHECK,
                where=str(path),
                sentence=f"{len(records)} rows of run {run_id} are in data file "
                f"{path} and not in lineage table {table.name}, as its entry in the "
                "Delta log was lost; `silorec doctor --repair` restores them",
                repair=partial(_restore, folder, table, log, path, records),
            )


def _restore(
    folder: Path, table: LineageTable, log: DeltaLog, path: Path, records: Any
) -> str:
    run_id, step = records[0].run_id, _step(table, log, path, records)
    LineageStore(folder).append(records, run_id=run_id, step=step)
    return (
        f"restored {len(records)} rows of run {run_id} to lineage table {table.name} "
        f"as step {step}"
    )


def _step(
    table: LineageTable, log: DeltaLog, path: Path, records: tuple[Any, ...]
) -> str:
    """The step that these rows were, so that repeating it changes nothing.

    Where the rows do not tell, any name will do that no step has: a run that has gone
    on does not repeat what it did at its start or end.
    """
    step = ""
    numbers = {getattr(row, "round_number", 0) for row in records}
    if table.record is RunRecord and len(records) == 1:
        step = f"status-{records[0].sequence}"
    elif table.record is ContractRecord:
        step = "admission"
    elif len(numbers) == 1 and 0 not in numbers and not any(map(_is_of_end, records)):
        step = f"round-{numbers.pop()}"
    if step and f"{records[0].run_id}/{step}" not in log.transactions:
        return step
    return f"restored-{path.name.removeprefix('part-00000-')[:8]}"


def _is_of_end(record: Record) -> bool:
    """Whether this is written when a run ends, with the number of an earlier round."""
    if isinstance(record, MetricRecord):
        return record.window == "test"
    return isinstance(record, ModelVersionRecord) and record.published


def _repeated(
    table: LineageTable, place: Path, keys: Counter[Any]
) -> Iterator[Finding]:
    twice = sum(times > 1 for times in keys.values())
    if not twice:
        return
    files = superfluous_files(table, place)
    fix = (
        f"`silorec doctor --repair` takes {len(files)} data files out whose rows are "
        "in others too"
        if files
        else "they differ, or share files with others, so restore "
        f"lineage/{table.name} from a backup"
    )
    yield Finding(
        check=CHECK,
        where=str(place),
        sentence=f"{twice} rows of lineage table {table.name} in {place} are there "
        f"more than once; {fix}",
        repair=partial(_take_out, table, place, files) if files else None,
    )


def _take_out(table: LineageTable, place: Path, files: tuple[str, ...]) -> str:
    with table_lock(place) as alone:
        if not alone:
            raise LineageError(f"lineage table {table.name} is merged just now; wait")
        take_out(place, files)
    return (
        f"took {len(files)} data files with repeated rows out of lineage table "
        f"{table.name}"
    )


def _incomplete_rounds(folder: Path, rows: Rows) -> Iterator[Finding]:
    """Rounds on record as finished without their participants or model."""
    finished = {(row.run_id, row.round_number) for row in rows.get(RoundRecord, ())}
    for record, name in (
        (ParticipantRecord, "participants"),
        (ModelVersionRecord, "model_versions"),
    ):
        there = {(row.run_id, row.round_number) for row in rows.get(record, ())}
        unread = record not in rows and (folder / "lineage" / name).exists()
        for run_id, number in () if unread else sorted(finished - there):
            yield Finding(
                check=CHECK,
                where=f"{folder}/lineage/{name}",
                sentence=f"round {number} of run {run_id} has no row in lineage table "
                f"{name} in {folder}, though it is recorded as finished; restore "
                f"lineage/{name} from a backup, and treat the round as not recorded "
                "until then",
            )


def _unreadable(table: LineageTable, place: Path) -> list[Finding]:
    """Which data files are the trouble; broken entries are found by `log_health`."""
    log = read_log(place)
    damaged = [name for name in sorted(log.active) if not _is_readable(place / name)]
    findings = [
        Finding(
            check=CHECK,
            where=str(place / name),
            sentence=f"data file {place / name} of lineage table {table.name} is "
            "missing or damaged; restore it from a backup",
        )
        for name in damaged
    ]
    if findings or log.faulty or log.damaged_checkpoints or not log.entries:
        return findings
    return [
        Finding(
            check=CHECK,
            where=str(place),
            sentence=f"lineage table {table.name} in {place} cannot be read by this "
            "version of silorec, although its files are there; use the version that "
            "wrote it, or another output folder",
        )
    ]


def _rows(table: LineageTable, place: Path) -> tuple[Any, ...]:
    files = SubTreeFileSystem(str(place), LocalFileSystem())
    rows = DeltaTable(place).to_pyarrow_table(filesystem=files)
    return from_rows(table.record, rows)


def _records_in(table: LineageTable, path: Path) -> tuple[Any, ...]:
    try:
        rows = pq.ParquetFile(path).read()
        return from_rows(table.record, rows.cast(table.schema))
    except (OSError, pa.ArrowException, TypeError, ValueError):
        return ()


def _is_readable(path: Path) -> bool:
    try:
        pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException):
        return False
    return True


def _key(record: type[Record]) -> attrgetter[Any]:
    return attrgetter(*KEYS[record])


def _age_seconds(path: Path) -> float:
    return time.time() - path.stat().st_mtime
