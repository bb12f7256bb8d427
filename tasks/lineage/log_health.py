"""Broken entries in the Delta logs, and what can be done about each.

Writers put an entry into the log whole or not at all, so a broken one comes from a
power cut, a failing disk or a copy that was interrupted. What can be done without a
loss (`_remedy`):

    the entry                          the remedy
    ---------------------------------  --------------------------------------------
    the last one                       set aside: nothing was built upon it
    number 0, which makes the table    made again: the columns are those of silorec
    of a step, others follow           an entry without content in its place
    of a merge or unknown, and later   none: later entries speak of files that only
    entries take its files away        it named

The rows of a step are then restored from the data file it had written (`lost_rows`) or
from the write-ahead file. A merge adds no row, so nothing of it need be restored.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from deltalake import DeltaTable

from data_contracts.durable_files import write_durably
from data_contracts.health import Finding
from tasks.lineage.delta_log import (
    LAST_CHECKPOINT,
    LOG_FOLDER,
    DeltaLog,
    Fault,
    LogEntry,
    entry_path,
    read_log,
)
from tasks.lineage.schema import TABLE_PROPERTIES, TABLES, LineageTable
from tasks.lineage.setting_aside import set_aside
from tasks.lineage.store import TABLES_FOLDER

Repair = Callable[[], str]

CHECK = "delta-log"


def existing_tables(folder: Path) -> tuple[tuple[LineageTable, Path], ...]:
    """The tables that are there, with their folders."""
    places = [(table, folder / TABLES_FOLDER / table.name) for table in TABLES]
    return tuple(place for place in places if (place[1] / LOG_FOLDER).is_dir())


def log_findings(folder: Path) -> tuple[Finding, ...]:
    """Every broken entry and checkpoint in the logs of an output folder.

    Raises:
        OSError: a folder cannot be read.
    """
    return tuple(
        finding
        for table, place in existing_tables(folder)
        for finding in _findings_of(folder, table, read_log(place))
    )


def _findings_of(folder: Path, table: LineageTable, log: DeltaLog) -> Iterator[Finding]:
    for path in log.damaged_checkpoints:
        yield _damaged_checkpoint(folder, table, log, path)
    if log.checkpoint is None and not log.entries:
        yield _empty_log(folder, table, log)
    for entry in log.faulty:
        yield _broken_entry(folder, table, log, entry)


def _broken_entry(
    folder: Path, table: LineageTable, log: DeltaLog, entry: LogEntry
) -> Finding:
    remedy = _remedy(folder, table, log, entry)
    fix = (
        "`silorec doctor --repair` puts it right and keeps what is there of it"
        if remedy
        else "later entries build upon it, so restore "
        f"lineage/{table.name} from a backup"
    )
    return Finding(
        check=CHECK,
        where=str(entry.path),
        sentence=f"{entry.complaint}; {fix}",
        repair=remedy,
    )


def _remedy(
    folder: Path, table: LineageTable, log: DeltaLog, entry: LogEntry
) -> Repair | None:
    # A missing entry is never the last one: the log would just end before it.
    if entry.version == 0:
        return partial(_make_again, folder, table, entry)
    if entry is log.entries[-1]:
        return partial(_take_away, folder, table, entry)
    if entry.operation == "WRITE" or not _is_built_upon(log, entry):
        return partial(_put_empty_entry, folder, table, entry)
    return None


def _is_built_upon(log: DeltaLog, entry: LogEntry) -> bool:
    """Whether later entries take files away that only this one can have named."""
    sound = [other for other in log.entries if other is not entry]
    named = {
        action["add"]["path"]
        for other in sound
        for action in other.actions
        if "add" in action
    } | log.at_checkpoint
    gone = {
        action["remove"]["path"]
        for other in sound
        for action in other.actions
        if "remove" in action and other.version > entry.version
    }
    return not gone <= named


def _take_away(folder: Path, table: LineageTable, entry: LogEntry) -> str:
    place = set_aside(folder, entry.path)
    return (
        f"set entry {entry.version} of the Delta log of lineage table {table.name} "
        f"aside, as {place}"
    )


def _put_empty_entry(folder: Path, table: LineageTable, entry: LogEntry) -> str:
    if entry.fault is not Fault.MISSING:
        set_aside(folder, entry.path)
    info = {"operation": "REPAIR", "engineInfo": "silorec doctor"}
    write_durably(entry.path, json.dumps({"commitInfo": info}).encode() + b"\n")
    return (
        f"put an entry without content in place of entry {entry.version} of the Delta "
        f"log of lineage table {table.name}"
    )


def _make_again(folder: Path, table: LineageTable, entry: LogEntry) -> str:
    if entry.fault is not Fault.MISSING:
        set_aside(folder, entry.path)
    write_durably(entry.path, _first_entry(table))
    return f"made entry 0 of the Delta log of lineage table {table.name} again"


def _first_entry(table: LineageTable) -> bytes:
    with tempfile.TemporaryDirectory() as elsewhere:
        DeltaTable.create(elsewhere, table.schema, configuration=TABLE_PROPERTIES)
        return entry_path(Path(elsewhere), 0).read_bytes()


def _empty_log(folder: Path, table: LineageTable, log: DeltaLog) -> Finding:
    missing = LogEntry(0, entry_path(log.folder, 0), (), Fault.MISSING)
    holds_data = any(log.folder.glob("*.parquet"))
    fix = (
        f"its data files are there, so restore lineage/{table.name} from a backup"
        if holds_data
        else "`silorec doctor --repair` makes the first one again"
    )
    return Finding(
        check=CHECK,
        where=str(log.folder),
        sentence=f"the Delta log of lineage table {table.name} in {log.folder} has no "
        f"entry; {fix}",
        repair=None if holds_data else partial(_make_again, folder, table, missing),
    )


def _damaged_checkpoint(
    folder: Path, table: LineageTable, log: DeltaLog, path: Path
) -> Finding:
    spared = _is_spared(log)
    fix = (
        "the entries before it are there, so `silorec doctor --repair` sets it aside"
        if spared
        else "entries before it are gone, so restore "
        f"lineage/{table.name} from a backup"
    )
    return Finding(
        check=CHECK,
        where=str(path),
        sentence=f"a checkpoint in the Delta log of lineage table {table.name} cannot "
        f"be read ({path}); {fix}",
        repair=partial(_take_checkpoint_away, folder, table, path) if spared else None,
    )


def _is_spared(log: DeltaLog) -> bool:
    """Whether the log can be read without the damaged checkpoints."""
    return bool(log.entries) and all(
        entry.fault is not Fault.MISSING for entry in log.entries
    )


def _take_checkpoint_away(folder: Path, table: LineageTable, path: Path) -> str:
    place = set_aside(folder, path)
    pointer = path.with_name(LAST_CHECKPOINT)
    if pointer.exists():
        set_aside(folder, pointer)
    return (
        f"set a checkpoint of the Delta log of lineage table {table.name} aside, as "
        f"{place}"
    )
