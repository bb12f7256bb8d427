"""The log of one Delta table, read entry by entry, so that a broken one has a name.

Delta itself either refuses a table with a broken entry, in words about its own insides,
or, where an entry ends between two lines, reads on without the rest of it. The format:
Delta transaction log protocol, sections "Delta Log Entries" and "Checkpoints".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LOG_FOLDER = "_delta_log"
LAST_CHECKPOINT = "_last_checkpoint"
_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")

Action = dict[str, Any]


class Fault(StrEnum):
    """What is wrong with an entry; the value completes "entry N ..."."""

    MISSING = "is missing"
    UNREADABLE = "is cut short or damaged"
    HOLLOW = "lacks a part of its commit"


@dataclass(frozen=True)
class LogEntry:
    """One version of the table.

    Attributes:
        version: 0 creates the table.
        path: where it lies, or should.
        actions: its lines, as far as they can be read.
        fault: what is wrong with it.
    """

    version: int
    path: Path
    actions: tuple[Action, ...]
    fault: Fault | None

    @property
    def operation(self) -> str:
        """What the commit did, such as `WRITE`; empty if the entry does not say."""
        return str(_first(self.actions, "commitInfo").get("operation", ""))

    @property
    def complaint(self) -> str:
        """What is wrong, and where, as the first half of a sentence."""
        table = self.path.parent.parent.name
        return (
            f"entry {self.version} of the Delta log of lineage table {table} "
            f"{self.fault} ({self.path})"
        )


@dataclass(frozen=True)
class DeltaLog:
    """What the log says, as far as it can be read.

    Attributes:
        folder: of the table.
        entries: those that Delta needs, in order; no version in between is left out.
        checkpoint: version that the entries continue; None if they begin with 0.
        damaged_checkpoints: files that cannot be read.
        at_checkpoint: names of the data files that made it up then.
        active: names of the data files that make up the table.
        mentioned: names of all data files that it ever spoke of.
        transactions: `<run id>/<step>` of every commit.
    """

    folder: Path
    entries: tuple[LogEntry, ...]
    checkpoint: int | None
    damaged_checkpoints: tuple[Path, ...]
    at_checkpoint: frozenset[str]
    active: frozenset[str]
    mentioned: frozenset[str]
    transactions: frozenset[str]

    @property
    def faulty(self) -> tuple[LogEntry, ...]:
        """Entries with a fault, the first one first."""
        return tuple(entry for entry in self.entries if entry.fault)


def entry_path(table: Path, version: int) -> Path:
    """Where the entry of this version lies."""
    return table / LOG_FOLDER / f"{version:020d}.json"


def read_log(table: Path) -> DeltaLog:
    """Read the log of the table in this folder.

    Raises:
        OSError: the folder cannot be read.
    """
    names = [path.name for path in (table / LOG_FOLDER).iterdir()]
    checkpoint, start, damaged = _newest_checkpoint(
        table, _versions(_CHECKPOINT, names)
    )
    first = 0 if checkpoint is None else checkpoint + 1
    last = max([*_versions(_ENTRY, names), first - 1])
    entries = tuple(_entry(table, version) for version in range(first, last + 1))
    actions = [*start, *(action for entry in entries for action in entry.actions)]
    active, gone = _replayed(actions)
    return DeltaLog(
        folder=table,
        entries=entries,
        checkpoint=checkpoint,
        damaged_checkpoints=tuple(damaged),
        at_checkpoint=frozenset(_replayed(start)[0]),
        active=frozenset(active),
        mentioned=frozenset(active | gone),
        transactions=frozenset(
            str(action["txn"].get("appId")) for action in actions if "txn" in action
        ),
    )


def _replayed(actions: Iterable[Action]) -> tuple[set[str], set[str]]:
    """(files that are in the table after these actions, files that no longer are)."""
    active: set[str] = set()
    gone: set[str] = set()
    for action in actions:
        if name := action.get("add", {}).get("path"):
            active.add(name)
        if name := action.get("remove", {}).get("path"):
            active.discard(name)
            gone.add(name)
    return active, gone


def _versions(pattern: re.Pattern[str], names: Iterable[str]) -> list[int]:
    return sorted(int(m[1]) for name in names if (m := pattern.fullmatch(name)))


def _newest_checkpoint(
    table: Path, versions: list[int]
) -> tuple[int | None, list[Action], list[Path]]:
    damaged: list[Path] = []
    for version in reversed(versions):
        path = table / LOG_FOLDER / f"{version:020d}.checkpoint.parquet"
        try:
            return version, list(_checkpoint_actions(path)), damaged
        except (OSError, pa.ArrowException, KeyError):
            damaged.append(path)
    return None, [], damaged


def _checkpoint_actions(path: Path) -> Iterator[Action]:
    columns = ["add.path", "remove.path", "txn.appId"]
    for row in pq.ParquetFile(path).read(columns=columns).to_pylist():
        yield {kind: action for kind, action in row.items() if action}


def _entry(table: Path, version: int) -> LogEntry:
    path = entry_path(table, version)
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return LogEntry(version, path, (), Fault.MISSING)
    actions: list[Action] = []
    for line in lines:
        try:
            action = json.loads(line)
        except ValueError:
            return LogEntry(version, path, tuple(actions), Fault.UNREADABLE)
        if not isinstance(action, dict):
            return LogEntry(version, path, tuple(actions), Fault.UNREADABLE)
        actions.append(action)
    fault = None if _is_whole(version, actions) else Fault.HOLLOW
    return LogEntry(version, path, tuple(actions), fault)


def _is_whole(version: int, actions: list[Action]) -> bool:
    """Whether nothing is missing behind the last line that is there."""
    if version == 0:
        return all(_first(actions, kind) for kind in ("protocol", "metaData"))
    info = _first(actions, "commitInfo")
    metrics = info.get("operationMetrics")
    promised = metrics if isinstance(metrics, dict) else {}
    adds = sum("add" in action for action in actions)
    removes = sum("remove" in action for action in actions)
    if "step" in info and not _first(actions, "txn"):
        return False
    return (
        bool(info)
        and adds >= _count(promised, "num_added_files", "numFilesAdded")
        and removes >= _count(promised, "num_removed_files", "numFilesRemoved")
    )


def _count(metrics: dict[str, Any], *names: str) -> int:
    return max(int(metrics.get(name) or 0) for name in names)


def _first(actions: Iterable[Action], kind: str) -> dict[str, Any]:
    return next((action[kind] for action in actions if action.get(kind)), {})
