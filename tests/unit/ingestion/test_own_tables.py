"""A silo's own tables: same rows from every format, and mistakes in one sentence."""

from __future__ import annotations

import hashlib
import hmac
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from data_contracts.columns import Column, TableName
from data_contracts.errors import SiloInputError
from data_contracts.settings.cohort import SiloConfig, TableSource
from data_contracts.tables import ARROW_TYPES, SiloTables
from data_contracts.workspace import SiloWorkspace
from tasks.ingestion.silo_side import load_tables
from tasks.ingestion.snapshot import snapshot_hash
from tasks.ingestion.tables import read_table

PLANTED = "hans-meier"
"""A value that stands in every table below and must stand in no message."""

MAPPING = {Column.USER: "customer", Column.ITEM: "sku", Column.TIMESTAMP: "bought at"}
START = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
OWN = pa.table(
    {
        "shop": ["x"] * 4,
        "bought at": pa.array(
            [START + timedelta(hours=n) for n in (3, 1, 1, 2)],
            pa.timestamp("us", tz="UTC"),
        ),
        "sku": ["007", "7", "Käse, alt", None],
        "customer": [PLANTED, "b", PLANTED, "c"],
        "rating": [1.5, None, 3.0, 4.0],
    }
)
CANONICAL = {
    "user_id": [PLANTED, "b", PLANTED, "c"],
    "item_id": ["007", "7", "Käse, alt", None],
    "timestamp": [int(START.timestamp()) + 3600 * n for n in (3, 1, 1, 2)],
    "rating": [1.5, None, 3.0, 4.0],
}


def parquet(folder: Path, table: pa.Table) -> Path:
    pq.write_table(table, folder / "own.parquet")
    return folder / "own.parquet"


def parquet_folder(folder: Path, table: pa.Table) -> Path:
    parts = folder / "parts"
    (parts / "b").mkdir(parents=True)
    pq.write_table(table.slice(0, 1), parts / "a.parquet")
    pq.write_table(table.slice(1), parts / "b" / "0.parquet")
    (parts / "_SUCCESS.parquet").write_text("bookkeeping")
    return parts


def csv_file(folder: Path, table: pa.Table) -> Path:
    csv.write_csv(table, folder / "own.csv")
    return folder / "own.csv"


def csv_gz(folder: Path, table: pa.Table) -> Path:
    with pa.CompressedOutputStream(str(folder / "own.csv.gz"), "gzip") as stream:
        csv.write_csv(table, stream)
    return folder / "own.csv.gz"


def delta(folder: Path, table: pa.Table) -> Path:
    for part in (table.slice(0, 1), table.slice(1, 1), table.slice(2)):
        deltalake.write_deltalake(str(folder / "own"), part, mode="append")
    return folder / "own"


FORMATS = (parquet, parquet_folder, csv_file, csv_gz, delta)


def read(path: Path, columns: dict[Column, str] | None = None, **settings) -> pa.Table:
    source = TableSource(
        path=str(path), columns=MAPPING if columns is None else columns, **settings
    )
    return read_table(source, TableName.INTERACTIONS)


def refusal(path: Path, columns: dict[Column, str] | None = None, **settings) -> str:
    """The sentence of the refusal; not even its traceback may show a value."""
    with pytest.raises(SiloInputError) as caught:
        read(path, columns, **settings)
    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    return caught.value.message


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_gives_the_same_table_and_hash(tmp_path, write):
    table = read(write(tmp_path, OWN))
    assert {c: table[c].to_pylist() for c in CANONICAL} == CANONICAL
    assert table.schema == pa.schema(
        [(c.value, ARROW_TYPES[c]) for c in map(Column, table.column_names)]
    )
    in_memory = pa.table({c: pa.array(CANONICAL[c], t) for c, t in _types(table)})
    assert _hash(table) == _hash(in_memory)


def _types(table: pa.Table):
    return [(field.name, field.type) for field in table.schema]


def _hash(table: pa.Table) -> str:
    return snapshot_hash({TableName.INTERACTIONS: table})


def test_columns_that_nobody_asked_for_are_dropped(tmp_path):
    names = read(parquet(tmp_path, OWN)).column_names
    assert names == ["user_id", "item_id", "timestamp", "rating"]


def test_an_optional_column_may_be_missing_unless_it_was_mapped(tmp_path):
    path = parquet(tmp_path, OWN.drop_columns(["rating"]))
    assert "rating" not in read(path).column_names
    mapped = {**MAPPING, Column.RATING: "stars"}
    assert "has no column stars for rating" in refusal(path, mapped)


@pytest.mark.parametrize("write", FORMATS)
def test_a_missing_column_is_named_beside_those_that_exist(tmp_path, write):
    message = refusal(write(tmp_path, OWN), {**MAPPING, Column.ITEM: "article"})
    assert "has no column article for item_id" in message
    assert "shop, bought at, sku, customer, rating" in message


def test_the_first_row_of_a_csv_without_header_is_not_shown(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(f"{PLANTED},007,1714573800\nb,7,1714573801\n")
    message = refusal(path, {})
    assert "must be a header" in message
    assert "007" not in message


@pytest.mark.parametrize("write", FORMATS)
def test_a_column_that_cannot_be_cast_is_named_with_its_type(tmp_path, write):
    message = refusal(write(tmp_path, OWN), {**MAPPING, Column.TIMESTAMP: "customer"})
    assert "column customer of type string cannot become timestamp" in message
    assert "whole seconds since 1970" in message


@pytest.mark.parametrize("write", [parquet, parquet_folder, csv_file, csv_gz])
def test_an_empty_table_is_refused(tmp_path, write):
    assert "has no rows" in refusal(write(tmp_path, OWN.slice(0, 0)))


def test_an_emptied_delta_table_is_refused(tmp_path):
    path = delta(tmp_path, OWN)
    deltalake.DeltaTable(str(path)).delete()
    assert "has no rows" in refusal(path)


def test_a_missing_table_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nothing.csv")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "own.csv").touch()
    assert "is an empty file" in refusal(tmp_path / "own.csv")


def test_an_empty_folder_is_refused(tmp_path):
    assert "cannot be read as parquet (FileNotFoundError)" in refusal(tmp_path)


def test_an_unknown_ending_asks_for_the_format(tmp_path):
    path = parquet(tmp_path, OWN).rename(tmp_path / "own.dat")
    assert "name its format" in refusal(path)
    assert len(read(path, format="parquet")) == 4


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("own.parquet", f"PAR1{PLANTED}", "parquet"),
        ("own.csv.gz", f"not gzip {PLANTED}", "csv"),
        ("own.csv", f"customer,sku,bought at\na,b,1\n{PLANTED},x,2,3\n", "csv"),
    ],
    ids=["parquet", "csv.gz", "ragged csv"],
)
def test_a_damaged_file_is_refused_without_quoting_it(tmp_path, name, content, kind):
    (tmp_path / name).write_text(content)
    assert f"cannot be read as {kind}" in refusal(tmp_path / name)


def test_a_csv_that_breaks_far_below_the_header_is_refused(tmp_path):
    rows = "".join(f"u{n},i,{n}\n" for n in range(200_000))
    text = f"customer,sku,bought at\n{rows}{PLANTED},x,2,3\n"
    (tmp_path / "own.csv").write_text(text)
    assert "cannot be read as csv" in refusal(tmp_path / "own.csv")


def test_a_truncated_parquet_file_is_refused(tmp_path):
    path = parquet(tmp_path, OWN)
    path.write_bytes(path.read_bytes()[:-20])
    assert "cannot be read as parquet" in refusal(path)


def test_a_delta_table_that_lost_a_file_is_refused(tmp_path):
    path = delta(tmp_path, OWN)
    next(path.glob("*.parquet")).unlink()
    assert "cannot be read as delta" in refusal(path)


def test_a_folder_that_is_no_delta_table_is_refused(tmp_path):
    assert "cannot be read as delta" in refusal(tmp_path, format="delta")


def test_a_mapping_for_a_column_of_another_table_is_refused(tmp_path):
    message = refusal(parquet(tmp_path, OWN), {**MAPPING, Column.AGE: "shop"})
    assert "mapping for age, which is no column of interactions" in message


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(f"user_id,item_id,item_id,timestamp\n{PLANTED},a,b,1\n")
    assert "more than one column item_id" in refusal(path, {})


def test_a_partitioned_delta_table_keeps_its_partition_column(tmp_path):
    deltalake.write_deltalake(str(tmp_path / "own"), OWN, partition_by=["customer"])
    assert sorted(read(tmp_path / "own")["user_id"].to_pylist()) == sorted(
        CANONICAL["user_id"]
    )


def test_tables_are_shelved_in_the_workspace_with_their_hash(tmp_path):
    path = str(parquet(tmp_path, OWN))
    config = SiloConfig(
        name="north",
        interactions=TableSource(path=path, columns=MAPPING),
        users=TableSource(path=path, columns={Column.USER: "customer"}),
    )
    workspace = SiloWorkspace(config, "run-1", tmp_path)
    reply = load_tables(workspace)
    shelved = workspace.get(SiloTables)
    assert tuple(shelved.tables) == (TableName.INTERACTIONS, TableName.USERS)
    assert shelved.snapshot_hash == snapshot_hash(shelved.tables)
    key = (tmp_path / "silo.secret").read_bytes()
    keyed = hmac.new(key, shelved.snapshot_hash.encode(), hashlib.sha256)
    assert reply == keyed.hexdigest() == load_tables(workspace)


def test_silos_that_count_differently_bring_the_same_rows(tmp_path):
    own = pa.table(
        {
            "customer": ["a", "b"],
            "sku": [7, 8],
            "bought at": [1_577_836_800_123, 1_577_836_801_999],
            "rating": pa.array([450, None], pa.int32()),
        }
    )
    pq.write_table(own, tmp_path / "orders.parquet")
    source = TableSource(
        path=str(tmp_path / "orders.parquet"), columns=MAPPING,
        time_unit="ms", rating_factor=0.01,
    )  # fmt: skip
    table = read_table(source, TableName.INTERACTIONS)
    assert table.to_pydict() == {
        "user_id": ["a", "b"],
        "item_id": ["7", "8"],
        "timestamp": [1_577_836_800, 1_577_836_801],
        "rating": [4.5, None],
    }
