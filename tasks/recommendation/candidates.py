"""Which items a silo recommends: what it stocks, within the rules of the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.columns import Column, TableName
from data_contracts.errors import SiloInputError
from data_contracts.settings.recommendation import ItemRules
from data_contracts.tables import SiloTables
from models.item_features import SEPARATOR

Mask = NDArray[np.bool_]


def allowed_items(
    silo: str,
    tables: SiloTables,
    items: tuple[str, ...],
    rules: ItemRules,
) -> Mask:
    """Which items of the vocabulary may be recommended, bool [V].

    Args:
        silo: its name.
        tables: its tables.
        items: the model's, in row order, as the silo's tables call them.
        rules: of the batch.

    Raises:
        SiloInputError: a file or column that a rule needs is not there, or nothing is
            left to recommend.
    """
    allowed = _stocked(tables, items)
    if rules.categories or rules.excluded_categories:
        allowed &= _in_categories(silo, tables, items, rules)
    if path := rules.available.get(silo):
        available = _available(Path(path).expanduser())
        allowed &= _among(items, available)
    if not allowed.any():
        raise SiloInputError(
            f"silo {silo}: the rules of the batch leave no item of the model that the "
            "silo stocks; widen items.categories, items.excluded_categories or "
            "items.available"
        )
    return allowed


def _stocked(tables: SiloTables, items: tuple[str, ...]) -> Mask:
    if TableName.ITEMS not in tables.tables:
        return np.array([bool(item) for item in items])  # of which the silo knows
    return _among(items, tables.tables[TableName.ITEMS][Column.ITEM])


def _among(items: tuple[str, ...], wanted: pa.ChunkedArray | pa.Array) -> Mask:
    found = pc.is_in(pa.array(items, pa.string()), value_set=pc.unique(wanted))
    return np.array(found.to_numpy(zero_copy_only=False), dtype=bool)


def _in_categories(
    silo: str, tables: SiloTables, items: tuple[str, ...], rules: ItemRules
) -> Mask:
    catalogue = tables.tables.get(TableName.ITEMS)
    if catalogue is None or Column.CATEGORIES not in catalogue.column_names:
        raise SiloInputError(
            f"silo {silo}: items.categories and items.excluded_categories need a "
            "column categories in the silo's items table; map it or leave them out"
        )
    told = dict(
        zip(
            catalogue[Column.ITEM].to_pylist(),
            catalogue[Column.CATEGORIES].to_pylist(),
            strict=True,
        )
    )
    own = [set((told.get(item) or "").split(SEPARATOR)) for item in items]
    wanted, unwanted = set(rules.categories), set(rules.excluded_categories)
    fits = [(not wanted or bool(c & wanted)) and not c & unwanted for c in own]
    return np.array(fits, dtype=bool)


def _available(path: Path) -> pa.ChunkedArray:
    """Column item_id of a file, as text."""
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path, columns=[Column.ITEM.value])
        else:
            types = {Column.ITEM.value: pa.string()}
            table = pacsv.read_csv(
                path, convert_options=pacsv.ConvertOptions(column_types=types)
            )
        return table[Column.ITEM.value].cast(pa.string())
    except (OSError, pa.ArrowException, KeyError) as error:
        raise SiloInputError(
            f"items.available {path} cannot be read as a CSV or Parquet file with a "
            f"column item_id ({type(error).__name__})"
        ) from None
