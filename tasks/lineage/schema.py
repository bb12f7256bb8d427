"""The Delta tables of the lineage store, derived from the record dataclasses.

One record type is one table, one field is one column: what the dataclass does not
name cannot be written. No table is partitioned. A round adds a handful of rows to
each table, so one partition per run would mean thousands of folders that compaction
can never merge; the minimum and maximum of `run_id` in the Delta log skip the files
of other runs just as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, TypeVar, cast, get_type_hints

import pyarrow as pa

from data_contracts.errors import LineageError
from data_contracts.records import (
    KEYS,
    ContractRecord,
    DecisionRecord,
    MetricRecord,
    ModelStageRecord,
    ModelVersionRecord,
    ParticipantRecord,
    PhaseRecord,
    PrivacyAuditRecord,
    PrivacyRecord,
    Record,
    RetrainingRecord,
    RoundRecord,
    RunRecord,
)

R = TypeVar(
    "R",
    RunRecord,
    ContractRecord,
    ParticipantRecord,
    PhaseRecord,
    RoundRecord,
    MetricRecord,
    DecisionRecord,
    ModelVersionRecord,
    PrivacyAuditRecord,
    PrivacyRecord,
    ModelStageRecord,
    RetrainingRecord,
)

_ARROW_TYPES = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}


@dataclass(frozen=True)
class LineageTable:
    """One Delta table of the store.

    Attributes:
        name: folder of the table.
        record: the dataclass whose fields are its columns.
        schema: Arrow schema; no column is nullable.
        commit_point: written after the tables that are not, so that its row says
            that theirs are there.
    """

    name: str
    record: type[Record]
    schema: pa.Schema
    commit_point: bool = False


def _table(
    name: str, record: type[Record], *, commit_point: bool = False
) -> LineageTable:
    hints = get_type_hints(record)
    columns = [
        pa.field(column.name, _ARROW_TYPES[hints[column.name]], nullable=False)
        for column in fields(record)
    ]
    return LineageTable(name, record, pa.schema(columns), commit_point)


TABLES: tuple[LineageTable, ...] = (
    _table("contract_results", ContractRecord),
    _table("participants", ParticipantRecord),
    _table("aggregation_phases", PhaseRecord),
    _table("metrics", MetricRecord),
    _table("decisions", DecisionRecord),
    _table("model_versions", ModelVersionRecord),
    _table("model_stages", ModelStageRecord),
    _table("retrainings", RetrainingRecord),
    _table("privacy_audits", PrivacyAuditRecord),
    _table("privacy", PrivacyRecord),
    _table("rounds", RoundRecord, commit_point=True),
    _table("runs", RunRecord, commit_point=True),
)
"""In the order of writing; a run's end is only on record when its rounds are."""

TABLE_OF: dict[type, LineageTable] = {table.record: table for table in TABLES}

TABLE_PROPERTIES = {"delta.appendOnly": "true"}


def grouped(records: Iterable[Record]) -> dict[LineageTable, list[Record]]:
    """Records by their table, in the order of writing; empty tables left out."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(TABLE_OF[type(record)].name, []).append(record)
    return {table: groups[table.name] for table in TABLES if table.name in groups}


def to_rows(table: LineageTable, records: Sequence[Record]) -> pa.Table:
    """The records as rows of their table.

    Raises:
        LineageError: a field holds a value of another type than its column.
    """
    columns = []
    for column in table.schema:
        try:
            values = [getattr(record, column.name) for record in records]
            array = pa.array(values, column.type)
        except pa.ArrowException:
            raise _mistyped(table, column) from None
        if array.null_count:
            raise _mistyped(table, column)
        columns.append(array)
    return pa.table(columns, schema=table.schema)


def from_rows(record: type[R], rows: pa.Table) -> tuple[R, ...]:
    """The rows as records, sorted by the columns that identify them."""
    build = cast(Any, record)
    records: list[R] = [build(**row) for row in rows.to_pylist()]
    return tuple(sorted(records, key=attrgetter(*KEYS[record])))


def _mistyped(table: LineageTable, column: pa.Field) -> LineageError:
    return LineageError(
        f"lineage table {table.name}: a record's {column.name} is not of type "
        f"{column.type}; nothing was written, correct the stage that made the record"
    )
