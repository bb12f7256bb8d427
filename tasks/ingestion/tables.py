"""An organisation's own table as a canonical Arrow table.

Finds the canonical columns under the names the silo gives them, drops all others and
casts (`casts`). No message holds a value: what a reader says itself may quote a row,
so it is dropped, and only its type is told. Whether the values make sense is the
business of the data contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import (
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    Column,
    TableName,
)
from data_contracts.errors import SiloInputError
from data_contracts.settings.cohort import TableSource
from tasks.ingestion.casts import CastError, cast_column
from tasks.ingestion.formats import OPENERS, OpenedTable, detect_format

SHOWN_COLUMNS = 20


def read_table(source: TableSource, name: TableName) -> pa.Table:
    """Read one table of a silo.

    Args:
        source: where it lies, and how its columns are called there.
        name: which canonical table it is.

    Returns:
        The required columns and those optional ones it has, in canonical order and
        types; rows in the order of the source.

    Raises:
        SiloInputError: the table is missing, unreadable or empty, or a column is
            missing or has no canonical form; one sentence without any value.
    """
    where = f"the {name} table {source.path}"
    path = Path(source.path).expanduser()
    kind = _format(source, path, where)
    try:
        opened = OPENERS[kind](path)
    except Exception as error:
        raise _unreadable(where, kind, error) from None
    chosen = _choose(opened, source, name, where, kind)
    try:
        raw = opened.load(sorted(set(chosen.values())))
    except Exception as error:
        raise _unreadable(where, kind, error) from None
    if not len(raw):
        raise SiloInputError(f"{where} has no rows; point it at a table that does")
    return pa.table(
        {c.value: _cast(c, own, raw, where, source) for c, own in chosen.items()}
    )


def _format(source: TableSource, path: Path, where: str) -> str:
    if not path.exists():
        raise SiloInputError(f"{where} does not exist where the silo runs")
    if path.is_file() and path.stat().st_size == 0:
        raise SiloInputError(f"{where} is an empty file")
    kind = detect_format(path) if source.format == "auto" else source.format
    if kind is None:
        raise SiloInputError(
            f"{where} ends in neither .parquet, .csv nor .csv.gz; name its format "
            f"(parquet, csv or delta) in cohort.silos[].<table>.format"
        )
    return kind


def _unreadable(where: str, kind: str, error: Exception) -> SiloInputError:
    return SiloInputError(
        f"{where} cannot be read as {kind} ({type(error).__name__}): it is damaged, "
        "not accessible or in another format"
    )


def _choose(
    opened: OpenedTable, source: TableSource, name: TableName, where: str, kind: str
) -> dict[Column, str]:
    """Canonical column -> own column, for all that the table has."""
    required, optional = REQUIRED_COLUMNS[name], OPTIONAL_COLUMNS[name]
    strangers = [
        column for column in source.columns if column not in required + optional
    ]
    if strangers:
        raise SiloInputError(
            f"{where} has a mapping for {strangers[0]}, which is no column of "
            f"{name}; those are {', '.join(required + optional)}"
        )
    own = {c: source.columns.get(c, c.value) for c in required + optional}
    present = {c: n for c, n in own.items() if n in opened.columns}
    for column in own:
        if column not in present and (column in required or column in source.columns):
            raise SiloInputError(
                f"{where} has no column {own[column]} for {column}; "
                f"{_shown(opened.columns, kind, bool(present))}; map it in "
                "cohort.silos[].<table>.columns"
            )
    twice = [n for n in present.values() if opened.columns.count(n) > 1]
    if twice:
        raise SiloInputError(f"{where} has more than one column {twice[0]}; rename one")
    return present


def _shown(columns: Sequence[str], kind: str, recognised: bool) -> str:
    # Without a header line, the "names" of a CSV file are the values of its first row.
    if kind == "csv" and not recognised:
        return (
            f"none of the names expected stands in its first line ({len(columns)} "
            "fields), which must be a header"
        )
    more = ", ..." if len(columns) > SHOWN_COLUMNS else ""
    return f"it has {', '.join(columns[:SHOWN_COLUMNS])}{more}"


def _cast(
    column: Column, own: str, raw: pa.Table, where: str, source: TableSource
) -> pa.ChunkedArray:
    try:
        cast = cast_column(column, raw[own], source.time_unit)
    except CastError as error:
        raise SiloInputError(
            f"{where}: column {own} of type {raw[own].type} cannot become {column}, "
            f"which takes {error.accepted}"
        ) from None
    if column is Column.RATING and source.rating_factor != 1.0:
        return pc.multiply(cast, source.rating_factor)
    return cast
