"""What a silo does for the shared vocabulary."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import Column, TableName
from data_contracts.errors import SiloInputError
from data_contracts.tables import SiloTables
from data_contracts.workspace import Contribution, SiloWorkspace
from models.fixed_point import encode_counts
from models.item_features import ItemDescription
from models.sequences import SequenceData
from models.vocabulary import Vocabulary

# Without an items table, the catalogue is what users touched; an item that fewer
# people than this touched could point at one of them and stays unnamed.
MIN_USERS_TO_NAME_AN_ITEM = 5


def name_catalogue(
    workspace: SiloWorkspace, public_only: bool = False
) -> tuple[str, ...]:
    """Item ids this silo stocks, sorted: public facts, no interaction.

    Taken from the items table; without one, the items that at least
    `MIN_USERS_TO_NAME_AN_ITEM` different users interacted with.

    Raises:
        SiloInputError: `public_only`, and there is no items table.
    """
    tables = workspace.get(SiloTables).tables
    if public_only and TableName.ITEMS not in tables:
        raise SiloInputError(
            f"silo {workspace.silo} brings no items table, and under privacy.mode what "
            "its users touched must not name the items; give cohort.silos[].items.path"
        )
    if TableName.ITEMS in tables:
        items = tables[TableName.ITEMS][Column.ITEM]
        return tuple(sorted(pc.unique(items).to_pylist()))
    users = (
        tables[TableName.INTERACTIONS]
        .group_by(Column.ITEM)
        .aggregate([(Column.USER, "count_distinct")])
    )
    enough = pc.greater_equal(
        users[f"{Column.USER}_count_distinct"], MIN_USERS_TO_NAME_AN_ITEM
    )
    return tuple(sorted(users.filter(enough)[Column.ITEM].to_pylist()))


def describe_items(
    workspace: SiloWorkspace, items: tuple[str, ...]
) -> dict[str, ItemDescription]:
    """Title and categories of those `items` that stand in this silo's catalogue."""
    tables = workspace.get(SiloTables).tables
    if TableName.ITEMS not in tables:
        return {}
    catalogue = tables[TableName.ITEMS]
    wanted = pc.is_in(catalogue[Column.ITEM], value_set=pa.array(items, pa.string()))
    described: dict[str, ItemDescription] = {}
    for row in catalogue.filter(wanted).to_pylist():
        title, categories = row.get(Column.TITLE), row.get(Column.CATEGORIES)
        description = ItemDescription(title or "", categories or "")
        described.setdefault(row[Column.ITEM], description)
    return described


def count_items(
    workspace: SiloWorkspace, catalogue: tuple[str, ...], num_silos: int
) -> None:
    """Shelve how often each catalogue item occurs, ready for a secure sum."""
    interactions = workspace.get(SiloTables).tables[TableName.INTERACTIONS]
    position = {item: index for index, item in enumerate(catalogue)}
    counts = np.zeros(len(catalogue), dtype=np.int64)
    for count in pc.value_counts(interactions[Column.ITEM]).to_pylist():
        if count["values"] in position:
            counts[position[count["values"]]] = count["counts"]
    if not counts.any():
        raise SiloInputError(
            f"silo {workspace.silo}: none of its interactions is with an item of the "
            "shared catalogue; check the item_id columns of interactions and items"
        )
    workspace.put(Contribution(encode_counts(counts, num_silos)))


def mark_trained_items(workspace: SiloWorkspace, num_silos: int) -> None:
    """Shelve a 1 for every item of the vocabulary that this silo trains on."""
    marks = np.zeros(workspace.get(Vocabulary).size, dtype=np.int64)
    marks[workspace.get(SequenceData).training_items()] = 1
    workspace.put(Contribution(encode_counts(marks, num_silos)))
