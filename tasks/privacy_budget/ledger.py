"""The ledger of one silo: a Delta table in its own folder that only ever grows.

Read, checked and appended to under one lock, so that two runs at a time cannot both
spend the same rest of a budget. An entry is on the disk before `append` returns.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from data_contracts.errors import PrivacyBudgetError
from tasks.privacy_budget.entries import Entry, verify

LEDGER = "privacy_ledger"
_SCHEMA = pa.schema(
    [
        ("sequence", pa.int64()),
        ("at", pa.string()),
        ("run_id", pa.string()),
        ("kind", pa.string()),
        ("plan", pa.string()),
        ("delta", pa.float64()),
        ("previous", pa.string()),
        ("hash", pa.string()),
    ]
)


class Ledger:
    """Entries below `<silo folder>/privacy_ledger`.

    Args:
        folder: the silo's own folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / LEDGER

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile; a dead process holds no lock."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{LEDGER}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def entries(self) -> tuple[Entry, ...]:
        """All of them, in order; none if there is no ledger yet.

        Raises:
            PrivacyBudgetError: damaged, or changed after it was written.
        """
        if not DeltaTable.is_deltatable(str(self.path)):
            self._require_no_traces()
            return ()
        try:
            files = SubTreeFileSystem(str(self.path), LocalFileSystem())
            dataset = DeltaTable(self.path).to_pyarrow_dataset(filesystem=files)
            rows = dataset.to_table().sort_by("sequence").to_pylist()
        except (DeltaError, pa.ArrowInvalid, OSError) as error:
            raise self._unreadable(type(error).__name__) from None
        entries = tuple(Entry(**row) for row in rows)
        verify(entries, str(self.path))
        return entries

    def append(self, entry: Entry) -> None:
        """Write one entry through to the disk.

        Raises:
            PrivacyBudgetError: it could not be written; nothing may be done then.
        """
        rows = pa.Table.from_pylist([asdict(entry)], schema=_SCHEMA)
        try:
            write_deltalake(self.path, rows, mode="append")
            self._write_through(DeltaTable(self.path).version())
        except (DeltaError, OSError) as error:
            raise PrivacyBudgetError(
                f"the privacy ledger {self.path} could not be written "
                f"({type(error).__name__}), so nothing may be trained; free space or "
                "mend the permissions, and run again"
            ) from None

    def _write_through(self, version: int) -> None:
        """Make the operating system write the commit and what it adds."""
        log = self.path / "_delta_log"
        commit = log / f"{version:020d}.json"
        lines = commit.read_text(encoding="utf-8").splitlines()
        added = [json.loads(line).get("add", {}).get("path") for line in lines]
        data = [self.path / unquote(name) for name in added if name]
        for path in (*data, commit, log, self.path, self._folder):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _require_no_traces(self) -> None:
        """A folder of the ledger without a log is a ledger that lost its log."""
        if any(self.path.glob("*.parquet")):
            raise self._unreadable("its log is gone")

    def _unreadable(self, why: str) -> PrivacyBudgetError:
        return PrivacyBudgetError(
            f"the privacy ledger {self.path} cannot be read ({why}); restore it from a "
            "backup, nothing may be trained until then"
        )
