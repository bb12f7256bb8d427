"""Steps of a silo whose items are named by a key: no item id leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.columns import Column, TableName
from data_contracts.errors import ConfigError, SiloInputError
from data_contracts.hidden_names import write_names
from data_contracts.tables import SiloTables
from data_contracts.workspace import Contribution, SiloWorkspace
from models.fixed_point import encode_counts
from models.item_names import CELLS, in_cells, item_name, key_check, marked_cells
from tasks.vocabulary.item_key import ITEM_KEY, read_item_key
from tasks.vocabulary.silo_side import name_catalogue


@dataclass(frozen=True)
class HiddenTables:
    """The tables in which items have names instead of ids."""

    tables: SiloTables


def hide_items(workspace: SiloWorkspace) -> str:
    """Name the items of the silo's tables by its key, for the rest of the run.

    What each name stands for is written to the silo's own folder.

    Returns:
        The check by which silos with another key are found.

    Raises:
        SiloInputError: the silo has no key.
    """
    try:
        key = read_item_key(workspace.folder / ITEM_KEY)
    except ConfigError:
        raise SiloInputError(
            f"silo {workspace.silo} has no item key, which preprocessing.item_names "
            "keyed-hash needs; give it the file of the other silos with "
            "`silorec silo item-key FOLDER --copy-from FILE`"
        ) from None
    brought = workspace.get(SiloTables)
    if workspace.has(HiddenTables) and workspace.get(HiddenTables).tables is brought:
        return key_check(key)  # asked again, in the same process
    named = {
        item: item_name(key, item)
        for name in (TableName.INTERACTIONS, TableName.ITEMS)
        if name in brought.tables
        for item in pc.unique(brought.tables[name][Column.ITEM]).to_pylist()
    }
    write_names(workspace.folder, named)
    renamed = {
        name: _renamed(table, named) if Column.ITEM in table.column_names else table
        for name, table in brought.tables.items()
    }
    hidden = SiloTables(renamed, brought.snapshot_hash)
    workspace.put(hidden)
    workspace.put(HiddenTables(hidden))
    return key_check(key)


def mark_cells(workspace: SiloWorkspace, public_only: bool, num_silos: int) -> None:
    """Shelve a 1 for every cell that one of the silo's names is in, [CELLS]."""
    names = _own_names(workspace, public_only)
    workspace.put(Contribution(encode_counts(marked_cells(names), num_silos)))


def name_shared_items(
    workspace: SiloWorkspace, public_only: bool, packed: NDArray[np.uint8]
) -> tuple[str, ...]:
    """Names of this silo's items that other silos seem to have, too.

    Args:
        workspace: of a silo whose items are hidden.
        public_only: see `name_catalogue`.
        packed: bits of the cells that enough silos marked, [CELLS / 8].
    """
    admitted = np.unpackbits(packed, count=CELLS).astype(bool)
    return in_cells(_own_names(workspace, public_only), admitted)


def _own_names(workspace: SiloWorkspace, public_only: bool) -> tuple[str, ...]:
    workspace.get(HiddenTables)  # never before the ids are gone
    return name_catalogue(workspace, public_only)


def _renamed(table: pa.Table, named: Mapping[str, str]) -> pa.Table:
    """The same rows with names in place of item ids."""
    encoded = table[Column.ITEM].combine_chunks().dictionary_encode()
    names = pa.array([named[i] for i in encoded.dictionary.to_pylist()], pa.string())
    column = names.take(encoded.indices)
    place = table.column_names.index(Column.ITEM)
    return table.set_column(place, Column.ITEM, column)
