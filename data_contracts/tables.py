"""A silo's tables in canonical form: names, Arrow types and a content hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from data_contracts.columns import Column, TableName

ARROW_TYPES: dict[Column, pa.DataType] = {
    Column.USER: pa.string(),
    Column.ITEM: pa.string(),
    Column.RATING: pa.float64(),
    Column.TIMESTAMP: pa.int64(),  # seconds since 1970-01-01 UTC
    Column.TITLE: pa.string(),
    Column.CATEGORIES: pa.string(),  # separated by "|"
    Column.AGE: pa.int64(),
    Column.GENDER: pa.string(),
    Column.OCCUPATION: pa.string(),
    Column.REGION: pa.string(),
}


@dataclass(frozen=True)
class SiloTables:
    """The tables of one silo, mapped onto canonical columns and types.

    Rows keep the order of the source: ties in time are broken by it (stable sort),
    and a different order would change held-out targets.

    Attributes:
        tables: interactions always; items and users where the silo has them.
        snapshot_hash: SHA-256 over columns, types and values, in row order.
    """

    tables: Mapping[TableName, pa.Table]
    snapshot_hash: str
