"""The snapshot hash: what must change it, and what must not."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest

from data_contracts.columns import TableName
from tasks.ingestion.snapshot import snapshot_hash

BASE = {
    "user_id": pa.array(["a", None, "", "bc"]),
    "rating": pa.array([1.0, None, 0.0, 2.5]),
    "timestamp": pa.array([1, 2, None, 0]),
}


def hashed(**columns: pa.Array) -> str:
    return snapshot_hash({TableName.INTERACTIONS: pa.table(BASE | columns)})


def test_known_answer_spelled_out():
    table = pa.table({"item_id": ["x", None]})
    spelled = (
        b"silorec/snapshot/v1"
        + (5).to_bytes(8, "little")
        + b"items"
        + (2).to_bytes(8, "little")
        + (1).to_bytes(8, "little")
        + (7).to_bytes(8, "little")
        + b"item_id"
        + (6).to_bytes(8, "little")
        + b"string"
        + b"\x01"
        + (1).to_bytes(8, "little")
        + (0).to_bytes(8, "little")
        + b"x"
    )
    assert (
        snapshot_hash({TableName.ITEMS: table}) == hashlib.sha256(spelled).hexdigest()
    )


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_chunks_and_slices_do_not_matter(cut):
    table = pa.table(BASE)
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    padded = pa.concat_tables([table, table]).combine_chunks().slice(4)
    for same in (chunked, padded):
        assert snapshot_hash({TableName.INTERACTIONS: same}) == hashed()


@pytest.mark.parametrize(
    "columns",
    [
        {"user_id": pa.array(["a", "", "", "bc"])},
        {"user_id": pa.array(["a", None, "b", "c"])},
        {"rating": pa.array([1.0, 0.0, 0.0, 2.5])},
        {"rating": pa.array([1.0, None, 0.0, 2.25])},
        {"timestamp": pa.array([1, 2, 0, 0])},
        {"timestamp": pa.array([2, 1, None, 0])},
        {"timestamp": pa.array([1.0, 2.0, None, 0.0])},
        {"item_id": pa.array(["a", None, "", "bc"])},
    ],
    ids=[
        *("missing is not empty text", "where one text ends", "missing is not zero"),
        *("a value", "missing is not zero seconds", "row order", "a type", "a column"),
    ],
)
def test_content_matters(columns):
    assert hashed(**columns) != hashed()


def test_values_in_another_table_or_column_give_another_hash():
    table = pa.table({"user_id": ["a"]})
    renamed = pa.table({"item_id": ["a"]})
    hashes = {
        snapshot_hash({TableName.INTERACTIONS: table}),
        snapshot_hash({TableName.INTERACTIONS: renamed}),
        snapshot_hash({TableName.USERS: table}),
        snapshot_hash({TableName.INTERACTIONS: table, TableName.USERS: table}),
    }
    assert len(hashes) == 4
