"""The lineage store: records in, records out, whatever dies in between.

Guarantees:
    * A step of a run is written once. Repeating it, at once, later or from another
      process, changes nothing; the first records stand.
    * All tables of a step or none: a process killed in between leaves its commit in
      the write-ahead folder, and the next append to the run completes it first.
    * A step is safe once it is in the write-ahead folder, so `begin` returns then and
      the tables follow while the caller goes on; everything later waits for them.
    * Rows of the commit-point tables (`rounds`, then `runs`) appear after the rows
      they stand for.

One process at a time writes a run; different runs may be written, and anything
read, at the same time. Left out: the data files are not synced, so a power cut (not
a killed process) may lose what the operating system had not yet written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import RLock
from typing import TypeVar

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from data_contracts.errors import LineageError
from data_contracts.records import Record
from tasks.lineage.delta_log import read_log
from tasks.lineage.merging import NO_HOUSEKEEPING, merge_small_files, table_lock
from tasks.lineage.schema import (
    TABLE_OF,
    TABLE_PROPERTIES,
    TABLES,
    LineageTable,
    R,
    from_rows,
    grouped,
    to_rows,
)
from tasks.lineage.storage import storage_error
from tasks.lineage.write_ahead import Commit, WriteAheadFolder

T = TypeVar("T")

TABLES_FOLDER = "lineage"
COMPACT_ABOVE_FILES = 32
"""A commit costs about 1 ms more for every 5 files a table is made of."""

SURELY_DEAD_SECONDS = 60.0
"""No commit takes so long: whoever began it is gone."""

_threads = ThreadPoolExecutor(len(TABLES), thread_name_prefix="lineage")
"""Kept: to start threads for every step takes longer than what they do in it."""

_writer = ThreadPoolExecutor(1, thread_name_prefix="lineage-writer")


class LineageStore:
    """The Delta tables below `<folder>/lineage`.

    Keeps its tables open: a commit to an open table costs a third.

    Attributes:
        folder: output folder of the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._folder = folder / TABLES_FOLDER
        self._write_ahead = WriteAheadFolder(self._folder / "unfinished")
        self._open_tables: dict[str, DeltaTable] = {}
        self._lock = RLock()
        self._writing: Future[None] | None = None
        self._recovered = False

    def append(
        self,
        records: Sequence[Record],
        *,
        run_id: str,
        step: str,
        code_hash: str = "",
    ) -> None:
        """Write the records of one step of a run, once.

        Args:
            records: of any tables, all of this run.
            run_id: letters, digits, `-` and `_`.
            step: name of the step within the run, such as `round-3`.
            code_hash: kept beside `run_id` in the metadata of every Delta commit.

        Raises:
            LineageError: storage failed; repeating the call is safe.
        """
        with self._lock:
            self.begin(records, run_id=run_id, step=step, code_hash=code_hash)
            self.finish()

    def begin(
        self,
        records: Sequence[Record],
        *,
        run_id: str,
        step: str,
        code_hash: str = "",
    ) -> None:
        """Like `append`, but the tables are written while the caller goes on.

        What was begun before is finished first, so a failure to write the tables is
        raised one call later at the latest, and nothing that was begun is lost.
        """
        self.begin_commit(Commit(run_id, step, code_hash, tuple(records)))

    def begin_commit(self, commit: Commit) -> None:
        """The same, for records that were put together before."""
        with self._lock, self._explained("write the lineage of a run"):
            self.settle(commit.run_id)
            self._write_ahead.put(commit)
            self._writing = _writer.submit(self._complete, commit)

    def settle(self, run_id: str) -> None:
        """Complete what a process that died had begun to record of the run.

        Raises:
            LineageError: storage failed, or an unfinished commit is damaged.
        """
        with self._lock, self._explained("write the lineage of a run"):
            self.finish()
            for earlier in self._write_ahead.unfinished(run_id):
                self._complete(earlier)

    def finish(self) -> None:
        """Wait until everything that was begun is in the tables.

        Raises:
            LineageError: storage failed; the next append of the run tries again.
        """
        with self._lock:
            writing, self._writing = self._writing, None
            if writing is not None:
                writing.result()

    def read(self, record: type[R], *, run_id: str | None = None) -> tuple[R, ...]:
        """All records of one type, or those of one run, sorted by their key.

        Raises:
            LineageError: the table cannot be read.
        """
        table = TABLE_OF[record]
        filters = None if run_id is None else [("run_id", "=", run_id)]
        with self._lock, self._explained(f"read lineage table {table.name}"):
            self.finish()
            self._recover()
            if not self._exists(table):
                return ()
            handle = self._open(table)
            handle.update_incremental()
            # Arrow's own file system: with the Python one of the table, its threads may
            # still call Python while the process ends, which ends it with an abort.
            files = SubTreeFileSystem(str(self._folder / table.name), LocalFileSystem())
            rows = handle.to_pyarrow_table(filters=filters, filesystem=files)
            return from_rows(record, rows)

    def _recover(self) -> None:
        """Complete, once, what runs that died had begun; as far as storage allows.

        Should one of them live after all, each table still gets its rows once.
        """
        if not self._recovered:
            self._recovered = True
            for commit in self._write_ahead.left_behind(SURELY_DEAD_SECONDS):
                with suppress(LineageError):
                    self._complete(commit)

    def complete_what_died(self) -> None:
        """Complete what runs that died had begun, as the first read does by itself."""
        with self._lock:
            self._recover()

    def compact(self) -> None:
        """Merge the small files of every table; changes no row."""
        with self._lock, self._explained("compact the lineage tables"):
            self.finish()
            for table in TABLES:
                if self._exists(table):
                    self._compact(table)

    def _complete(self, commit: Commit) -> None:
        with self._explained("write the lineage of a run"):
            self._write(commit, self._missing_rows(commit))
            self._write_ahead.drop(commit)

    def _missing_rows(self, commit: Commit) -> dict[LineageTable, pa.Table]:
        """The commit's rows by table, without tables that already have theirs."""
        groups = grouped(commit.records)
        recorded = _in_parallel(lambda table: self._recorded(table, commit), groups)
        return {
            table: to_rows(table, records)
            for (table, records), done in zip(groups.items(), recorded, strict=True)
            if not done
        }

    def _recorded(self, table: LineageTable, commit: Commit) -> bool:
        # Of the table as last seen: should another process have written the step in
        # between, Delta refuses the transaction and the next attempt finds it done.
        handle = self._open(table)
        return handle.transaction_version(_transaction(commit).app_id) is not None

    def _write(self, commit: Commit, rows: dict[LineageTable, pa.Table]) -> None:
        first = [table for table in rows if not table.commit_point]
        last = [table for table in rows if table.commit_point]
        _in_parallel(lambda table: self._write_rows(table, commit, rows[table]), first)
        for table in last:
            self._write_rows(table, commit, rows[table])

    def _write_rows(self, table: LineageTable, commit: Commit, rows: pa.Table) -> None:
        with self._explained(f"write lineage table {table.name}"):
            handle = self._open(table)
            if len(handle.file_uris()) > COMPACT_ABOVE_FILES:
                self._compact(table)
            write_deltalake(
                handle,
                rows,
                mode="append",
                commit_properties=CommitProperties(
                    custom_metadata={
                        "run_id": commit.run_id,
                        "step": commit.step,
                        "code_hash": commit.code_hash,
                    },
                    app_transactions=[_transaction(commit)],
                ),
                post_commithook_properties=NO_HOUSEKEEPING,
            )

    def _compact(self, table: LineageTable) -> None:
        merge_small_files(self._open(table), self._folder / table.name)

    def _exists(self, table: LineageTable) -> bool:
        with self._explained(f"read lineage table {table.name}"):
            return (self._folder / table.name / "_delta_log").is_dir()

    def _open(self, table: LineageTable) -> DeltaTable:
        if table.name not in self._open_tables:
            path = self._folder / table.name
            if not DeltaTable.is_deltatable(str(path)):
                _create(table, path)
            for entry in read_log(path).faulty:
                # Delta would read on without the rest of some, and refuse others.
                raise LineageError(
                    f"{entry.complaint}; `silorec doctor {self._folder.parent} "
                    "--repair` puts right what can be"
                )
            handle = DeltaTable(path)
            columns = [field.name for field in handle.schema().fields]
            if columns != table.schema.names:
                raise LineageError(
                    f"lineage table {table.name} in {self._folder} has other columns "
                    "than this version of silorec writes; choose another output folder"
                )
            self._open_tables[table.name] = handle
        return self._open_tables[table.name]

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn whatever storage raises into one sentence without its text."""
        try:
            yield
        except (DeltaError, OSError, pa.ArrowException) as error:
            self._open_tables.clear()  # The next call looks at the folder afresh.
            raise storage_error(doing, self._folder, error) from None


@cache
def open_store(folder: str) -> LineageStore:
    """The one store of this process for the folder."""
    return LineageStore(Path(folder))


def _create(table: LineageTable, path: Path) -> None:
    """Create the table, unless another process does so just now.

    One at a time: of two that create at once, Delta lets the second write the columns
    again as version 1, and refuses whoever began to append to version 0 meanwhile.
    """
    path.mkdir(parents=True, exist_ok=True)
    with table_lock(path, wait=True):
        if not any(path.glob("*.parquet")):  # Else its log is lost, and Delta says so.
            configuration = TABLE_PROPERTIES
            DeltaTable.create(
                path, table.schema, mode="ignore", configuration=configuration
            )


def _transaction(commit: Commit) -> Transaction:
    # One id per step and no ordering between steps: Delta accepts any version of a
    # known id, and "the highest number wins" would lose a step that comes late.
    return Transaction(f"{commit.run_id}/{commit.step}", 1)


def _in_parallel(
    work: Callable[[LineageTable], T], tables: Iterable[LineageTable]
) -> list[T]:
    """Do the work for every table; a failure is raised when all have ended."""
    started = [_threads.submit(work, table) for table in tables]
    wait(started)
    return [future.result() for future in started]
