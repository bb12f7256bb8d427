"""One hash for the tables of a silo: same content and order, same hash.

Whatever format the rows came in and however they lie in memory, the hash covers, in
this order, the domain tag `silorec/snapshot/v1`; per table its name, row count and
column count; per column its name, its Arrow type, one bit per row (1 = has a value),
and the values: 8 bytes little endian each (a missing one is 0), or, for text, the
byte lengths (8 bytes each, a missing one 0) and then the UTF-8 bytes. Names and
types are preceded by their length; lengths and counts are 8 bytes little endian.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import Column, TableName

DOMAIN = b"silorec/snapshot/v1"


def snapshot_hash(tables: Mapping[TableName, pa.Table]) -> str:
    """Hex SHA-256 over columns, types and values of canonical tables, in row order."""
    digest = hashlib.sha256(DOMAIN)
    for name in TableName:
        if name in tables:
            for part in _table_bytes(name, tables[name]):
                digest.update(part)
    return digest.hexdigest()


def _table_bytes(name: TableName, table: pa.Table) -> Iterator[bytes]:
    yield _framed(name) + _number(table.num_rows) + _number(table.num_columns)
    for column in Column:
        if column in table.column_names:
            yield _framed(column) + _framed(str(table.schema.field(column).type))
            yield from _value_bytes(table[column].combine_chunks())


def _value_bytes(values: pa.Array) -> Iterator[bytes]:
    present = values.is_valid().to_numpy(zero_copy_only=False)
    yield np.packbits(present, bitorder="little").tobytes()
    if pa.types.is_string(values.type):
        text = values.fill_null("").cast(pa.large_binary())
        yield pc.binary_length(text).to_numpy().astype("<i8").tobytes()
        yield _joined(text)
    else:
        zero = pa.scalar(0, values.type)
        yield (
            values.fill_null(zero)
            .to_numpy()
            .astype(_LITTLE_ENDIAN[values.type])
            .tobytes()
        )


_LITTLE_ENDIAN = {pa.int64(): "<i8", pa.float64(): "<f8"}


def _joined(text: pa.LargeBinaryArray) -> bytes:
    """All values after each other; the offsets delimit them in Arrow's own buffer."""
    _, offsets, data = text.buffers()
    if data is None:
        return b""
    ends = np.frombuffer(offsets, dtype=np.int64)[text.offset :]
    return memoryview(data)[ends[0] : ends[len(text)]].tobytes()


def _framed(text: str) -> bytes:
    encoded = text.encode()
    return _number(len(encoded)) + encoded


def _number(value: int) -> bytes:
    return value.to_bytes(8, "little")
