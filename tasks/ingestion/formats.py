"""Opening a silo's table: Parquet, CSV or Delta, columns first, rows on demand.

Rows come in a fixed order, because order breaks ties in time: as in the file; a
folder of Parquet files in path order; a Delta table in commit order. Errors of the
readers pass through; the caller must not show them, as they may quote a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyarrow import csv


@dataclass(frozen=True)
class OpenedTable:
    """A table whose columns are known and whose rows are not read yet.

    Attributes:
        columns: its own column names, in order.
        load: the rows of some of its columns.
    """

    columns: tuple[str, ...]
    load: Callable[[Sequence[str]], pa.Table]


def detect_format(path: Path) -> str | None:
    """`parquet`, `csv` or `delta` by the look of `path`; None if it fits none."""
    if path.is_dir():
        return "delta" if (path / "_delta_log").is_dir() else "parquet"
    name = path.name.lower()
    return next((kind for end, kind in ENDINGS.items() if name.endswith(end)), None)


def open_parquet(path: Path) -> OpenedTable:
    """Open a Parquet file, or every `*.parquet` file below a folder."""
    files = [path] if path.is_file() else _parquet_files(path)
    if not files:
        raise FileNotFoundError(path)

    def load(columns: Sequence[str]) -> pa.Table:
        parts = [pq.read_table(f, columns=columns, partitioning=None) for f in files]
        return pa.concat_tables(parts, promote_options="permissive")

    return OpenedTable(tuple(pq.read_schema(files[0]).names), load)


def open_csv(path: Path) -> OpenedTable:
    """Open a CSV file with a header line, plain or compressed (`.csv.gz`).

    Every field is read as text, so that an id keeps its leading zeros; an empty field
    is a missing value, a quoted empty one is empty text.
    """
    parsing = csv.ParseOptions(newlines_in_values=True)
    with csv.open_csv(path, parse_options=parsing) as opened:
        names = tuple(opened.schema.names)

    def load(columns: Sequence[str]) -> pa.Table:
        options = csv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        return csv.read_csv(path, parse_options=parsing, convert_options=options)

    return OpenedTable(names, load)


def open_delta(path: Path) -> OpenedTable:
    """Open the newest version of a Delta table."""
    table = DeltaTable(str(path))
    dataset = table.to_pyarrow_dataset()

    def load(columns: Sequence[str]) -> pa.Table:
        parts = [
            fragment.to_table(dataset.schema, columns=list(columns))
            for fragment in sorted(
                dataset.get_fragments(), key=_moment_of_commit(table)
            )
        ]
        empty = dataset.schema.empty_table().select(list(columns))
        return pa.concat_tables([empty, *parts])

    return OpenedTable(tuple(dataset.schema.names), load)


def _moment_of_commit(table: DeltaTable) -> Callable[[ds.Fragment], tuple[int, str]]:
    """Sort key of a Delta table's files: the log lists them in no promised order."""
    actions = pa.table(table.get_add_actions())
    # Folder names are escaped differently in the log; file names are unique anyway.
    names = [path.rpartition("/")[2] for path in actions["path"].to_pylist()]
    moments = actions["modification_time"].cast(pa.int64()).to_pylist()
    written = dict(zip(names, moments, strict=True))

    def key(fragment: ds.Fragment) -> tuple[int, str]:
        name = fragment.path.rpartition("/")[2]
        return written[name], name

    return key


def _parquet_files(folder: Path) -> list[Path]:
    """Data files in path order; names with `_` or `.` in front are bookkeeping."""
    return sorted(
        file
        for file in folder.rglob("*.parquet")
        if not any(p.startswith(("_", ".")) for p in file.relative_to(folder).parts)
    )


ENDINGS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".csv.gz": "csv"}

OPENERS: Mapping[str, Callable[[Path], OpenedTable]] = {
    "parquet": open_parquet,
    "csv": open_csv,
    "delta": open_delta,
}
