"""One file per unfinished commit, because Delta commits one table at a time.

A commit is put here before the first table is touched and dropped after the last.
What a killed process leaves behind is finished from this file, with the very same
rows: a repeated round may have other participants, and half of each would be a lie.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.durable_files import write_durably
from data_contracts.errors import LineageError
from data_contracts.records import Record
from tasks.lineage.schema import TABLES, grouped

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class Commit:
    """Records that are written together.

    Attributes:
        run_id: the run they belong to.
        step: names the commit within the run; the same step is written once.
        code_hash: the code that made them, kept in the Delta log.
        records: the rows, of any tables.
    """

    run_id: str
    step: str
    code_hash: str
    records: tuple[Record, ...]

    def __post_init__(self) -> None:
        for name in (self.run_id, self.step):
            assert _NAME.fullmatch(name), "run ids and steps are file names"


@dataclass(frozen=True)
class WriteAheadFolder:
    """The unfinished commits of a store."""

    folder: Path

    def put(self, commit: Commit) -> None:
        """Remember the commit until `drop`."""
        write_durably(self._path(commit), json.dumps(encoded_commit(commit)).encode())

    def drop(self, commit: Commit) -> None:
        """The commit is complete."""
        self._path(commit).unlink(missing_ok=True)

    def unfinished(self, run_id: str) -> tuple[Commit, ...]:
        """Commits of the run that some process began and did not complete.

        Raises:
            LineageError: a file is damaged or of another version of silorec.
        """
        return tuple(
            _decode(path) for path in sorted(self.folder.glob(f"{run_id}.*.json"))
        )

    def left_behind(self, seconds: float) -> tuple[Commit, ...]:
        """Commits of any run that were begun so long ago and never completed.

        Damaged ones are passed over: they are the next writer's complaint.
        """
        found = []
        for path in sorted(self.folder.glob("*.json")):
            with suppress(LineageError, FileNotFoundError):
                if time.time() - path.stat().st_mtime >= seconds:
                    found.append(_decode(path))
        return tuple(found)

    def files(self) -> tuple[tuple[Path, Commit | None], ...]:
        """Every file and the commit in it; None: damaged or of another version."""
        found: list[tuple[Path, Commit | None]] = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                found.append((path, _decode(path)))
            except FileNotFoundError:
                continue  # Just completed.
            except LineageError:
                found.append((path, None))
        return tuple(found)

    def _path(self, commit: Commit) -> Path:
        return self.folder / f"{commit.run_id}.{commit.step}.json"


def encoded_commit(commit: Commit) -> dict[str, Any]:
    """The commit as JSON."""
    tables = {
        table.name: [vars(record) for record in records]
        for table, records in grouped(commit.records).items()
    }
    return {
        "run_id": commit.run_id,
        "step": commit.step,
        "code_hash": commit.code_hash,
        "tables": tables,
    }


def decoded_commit(content: Mapping[str, Any]) -> Commit:
    """The commit behind its JSON.

    Raises:
        KeyError: it is none.
        TypeError: it is of another version.
    """
    return Commit(
        content["run_id"],
        content["step"],
        content["code_hash"],
        tuple(
            table.record(**row)
            for table in TABLES
            for row in content["tables"].get(table.name, ())
        ),
    )


def _decode(path: Path) -> Commit:
    try:
        return decoded_commit(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError):
        raise LineageError(
            f"unfinished commit {path} is damaged or of another version of silorec; "
            "move it away to go on without the records in it"
        ) from None
