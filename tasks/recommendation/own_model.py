"""A published model as one silo has it: its own names of items, and its own tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import SiloInputError
from data_contracts.hidden_names import own_ids
from data_contracts.personal_parts import part_up_to
from data_contracts.recommendations import SavedModel
from data_contracts.settings.data import ItemNames
from models.recommenders.saved import ARCHITECTURE


def as_the_silo_has_it(
    model: SavedModel, folder: Path, item_names: ItemNames
) -> SavedModel:
    """The model with what this silo trained for itself, over the silo's own item ids.

    An item that the silo does not know has an empty id, which no table holds.

    Args:
        model: that all silos share.
        folder: the silo's own.
        item_names: how silos name items to each other.

    Raises:
        SiloInputError: nobody can tell what the model's items are, or the silo has no
            tensors of its own where the model needs them.
        SiloError: the silo's own tensors are damaged.
    """
    items = model.items if item_names == "plain" else own_ids(folder, model.items)
    tensors = {**model.tensors, **_own_tensors(model, folder)}
    return replace(model, items=items, tensors=tensors)


def _own_tensors(model: SavedModel, folder: Path) -> Mapping[str, NDArray[np.float32]]:
    personal = json.loads(model.metadata.get(ARCHITECTURE, "{}")).get("personal")
    if personal in {None, "none"}:
        return {}
    part = part_up_to(folder, model.run_id, model.round_number)
    if part is None:
        raise SiloInputError(
            f"the model has personal tensors ({personal}), and the silo trained none "
            f"in run {model.run_id}; let it take part in a training first"
        )
    return part
