"""Three invented organisations that bring the same tables in three formats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import write_deltalake
from pyarrow import csv

from data_contracts.columns import TableName
from data_contracts.settings.cohort import SiloConfig
from tests.simulators.synthetic_tables import synthetic_tables, world

SILOS = ("north", "south", "west")

# The names south gives to its columns.
ORDERS = {"user_id": "customer", "item_id": "article", "timestamp": "bought_at"}

Tables = Mapping[TableName, pa.Table]


def three_formats(
    folder: Path, *, users: int = 80, items: int = 100
) -> tuple[SiloConfig, ...]:
    """Write north (Parquet), south (CSV, own column names) and west (Delta).

    Args:
        folder: each silo gets a folder of its own in it.
        users: users per silo.
        items: size of the shared catalogue.
    """
    shared = world(np.random.default_rng(0), items)
    return tuple(
        SiloConfig(
            name=silo,
            **write(
                synthetic_tables(
                    np.random.default_rng(seed),
                    shared,
                    users=users,
                    user_prefix=f"{silo}-",
                ),
                folder / silo,
            ),
        )
        for seed, (silo, write) in enumerate(WRITERS.items())
    )


def _as_parquet(tables: Tables, folder: Path) -> dict[str, dict[str, object]]:
    folder.mkdir(parents=True)
    sources: dict[str, dict[str, object]] = {}
    for name, table in tables.items():
        path = folder / f"{name}.parquet"
        pq.write_table(table, path)
        sources[name.value] = {"path": str(path)}
    return sources


def _as_csv(tables: Tables, folder: Path) -> dict[str, dict[str, object]]:
    """Times as ISO 8601 text, and the columns of orders under other names."""
    folder.mkdir(parents=True)
    orders = tables[TableName.INTERACTIONS]
    times = pc.strftime(
        orders["timestamp"].cast(pa.timestamp("s")), "%Y-%m-%d %H:%M:%S"
    )
    orders = orders.set_column(
        orders.column_names.index("timestamp"), "timestamp", times
    ).rename_columns(ORDERS | {"rating": "rating"})
    csv.write_csv(orders, folder / "orders.csv")
    csv.write_csv(tables[TableName.ITEMS], folder / "catalogue.csv")
    return {
        "interactions": {"path": str(folder / "orders.csv"), "columns": ORDERS},
        "items": {"path": str(folder / "catalogue.csv")},
    }


def _as_delta(tables: Tables, folder: Path) -> dict[str, dict[str, object]]:
    """Interactions in two commits: the order of rows is that of the commits."""
    orders = tables[TableName.INTERACTIONS]
    half = len(orders) // 2
    for part in (orders.slice(0, half), orders.slice(half)):
        write_deltalake(folder / "interactions", part, mode="append")
    write_deltalake(folder / "items", tables[TableName.ITEMS])
    return {
        name: {"path": str(folder / name), "format": "delta"}
        for name in ("interactions", "items")
    }


WRITERS = dict(zip(SILOS, (_as_parquet, _as_csv, _as_delta), strict=True))
