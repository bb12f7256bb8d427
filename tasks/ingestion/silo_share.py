"""Which rows of a data set one silo holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.columns import TableName

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class SiloShare:
    """One flag per row of each canonical table: does the silo hold it?

    Attributes:
        interactions: bool [number of interactions].
        items: bool [number of items]; the silo's catalogue.
        users: bool [number of users].
    """

    interactions: Rows
    items: Rows
    users: Rows

    def of(self, tables: Mapping[TableName, pa.Table]) -> dict[TableName, pa.Table]:
        """The silo's part of `tables`, in their row order."""
        flags = {
            TableName.INTERACTIONS: self.interactions,
            TableName.ITEMS: self.items,
            TableName.USERS: self.users,
        }
        return {
            name: tables[name].filter(pa.array(rows)) for name, rows in flags.items()
        }


def union(shares: Iterable[SiloShare]) -> SiloShare:
    """What at least one of the silos holds."""
    parts = tuple(shares)
    return SiloShare(
        interactions=np.logical_or.reduce([part.interactions for part in parts]),
        items=np.logical_or.reduce([part.items for part in parts]),
        users=np.logical_or.reduce([part.users for part in parts]),
    )


def positions(values: pa.ChunkedArray, among: pa.ChunkedArray) -> NDArray[np.int64]:
    """Index in `among` (distinct) of each of `values`, all of which occur there."""
    found = pc.index_in(values, value_set=among.combine_chunks())
    assert not found.null_count, "ids were checked when the data set was read"
    indices: NDArray[np.int64] = found.to_numpy().astype(np.int64)
    return indices
