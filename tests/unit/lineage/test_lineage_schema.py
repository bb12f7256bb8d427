from dataclasses import fields, replace

import pyarrow as pa
import pytest

from data_contracts.errors import LineageError
from data_contracts.records import KEYS, RoundRecord, RunRecord
from tasks.lineage.schema import TABLE_OF, TABLES, from_rows, grouped, to_rows
from tests.simulators.recorded_runs import (
    audit_record,
    contract_record,
    privacy_record,
    retraining_record,
    round_record,
    round_records,
    run_record,
    stage_record,
)

EVERY_TABLE = [
    run_record("run1"),
    contract_record("run1", "north"),
    privacy_record("run1", "north"),
    audit_record("audit1"),
    stage_record("run1"),
    retraining_record("run1"),
    *round_records("run1", 1, parent=""),
]


def test_every_record_type_has_one_table() -> None:
    assert {table.record for table in TABLES} == set(KEYS)
    assert len({table.name for table in TABLES}) == len(KEYS)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_has_the_columns_of_its_record_and_no_other(table) -> None:
    assert table.schema.names == [field.name for field in fields(table.record)]
    assert not any(column.nullable for column in table.schema)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_records_come_back_from_their_rows(table) -> None:
    records = tuple(grouped(EVERY_TABLE)[table])
    assert set(from_rows(table.record, to_rows(table, records))) == set(records)


def test_column_types_follow_the_field_types() -> None:
    schema = TABLE_OF[RoundRecord].schema
    assert schema.field("run_id").type == pa.string()
    assert schema.field("contributors").type == pa.int64()
    assert schema.field("train_loss").type == pa.float64()


def test_the_commit_points_are_written_last() -> None:
    names = [table.name for table in grouped(reversed(EVERY_TABLE))]
    assert names[-2:] == ["rounds", "runs"]


def test_rows_come_back_in_the_order_of_their_keys() -> None:
    table = TABLE_OF[RoundRecord]
    rows = to_rows(table, [round_record("run1", number) for number in (3, 1, 2)])
    assert [row.round_number for row in from_rows(RoundRecord, rows)] == [1, 2, 3]


@pytest.mark.parametrize("value", ["secret", None])
def test_a_value_of_the_wrong_type_is_refused_without_showing_it(value) -> None:
    broken = replace(run_record("run1"), silos=value)
    with pytest.raises(LineageError, match="runs: a record's silos is not") as caught:
        to_rows(TABLE_OF[RunRecord], [broken])
    assert "secret" not in caught.value.message
