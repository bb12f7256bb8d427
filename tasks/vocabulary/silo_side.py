"""What a silo does for the shared vocabulary."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc

from data_contracts.columns import Column, TableName
from data_contracts.errors import SiloInputError
from data_contracts.tables import SiloTables
from data_contracts.workspace import Contribution, SiloWorkspace
from models.fixed_point import encode_counts
from models.sequences import SequenceData
from models.vocabulary import Vocabulary

# Without an items table, the catalogue is what users touched; an item that fewer
# people than this touched could point at one of them and stays unnamed.
MIN_USERS_TO_NAME_AN_ITEM = 5


def name_catalogue(workspace: SiloWorkspace) -> tuple[str, ...]:
    """Item ids this silo stocks, sorted: public facts, no interaction.

    Taken from the items table; without one, the items that at least
    `MIN_USERS_TO_NAME_AN_ITEM` different users interacted with.
    """
    tables = workspace.get(SiloTables).tables
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
