"""The first global model: random, or a checkpoint carried over item by item."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ConfigError
from data_contracts.settings.training import ModelConfig
from models.parameters import Vector
from models.recommenders.building import initial_vector, layout_for
from models.vocabulary import Vocabulary

ITEM_TABLE = "items.weight"


def warm_start(
    config: ModelConfig,
    vocabulary: Vocabulary,
    tensors: Mapping[str, NDArray[np.float32]],
    known_items: tuple[str, ...],
) -> Vector:
    """A checkpoint's parameters for the present vocabulary, float32 [d].

    Items that the checkpoint knows keep their row; new items start random; items
    that are gone are dropped.

    Args:
        config: architecture; must be the checkpoint's.
        vocabulary: present items.
        tensors: the checkpoint's tensors by name.
        known_items: the checkpoint's items, in the order of its item table.

    Raises:
        ConfigError: the checkpoint has another architecture.
    """
    layout = layout_for(config, vocabulary.size)
    fresh = dict(layout.split(initial_vector(config, vocabulary.size)))
    wanted = dict(zip(layout.names, layout.shapes, strict=True))
    wanted[ITEM_TABLE] = (len(known_items), config.dim)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if misfits := sorted(name for name, _ in wanted.items() ^ found.items()):
        raise ConfigError(
            f"model.init_from: the checkpoint does not fit the model section at "
            f"{misfits[0]}; use the dim, blocks and heads it was trained with"
        )
    old_row = {item: row for row, item in enumerate(known_items)}
    kept = [i for i, item in enumerate(vocabulary.items) if item in old_row]
    table = fresh[ITEM_TABLE].copy()
    table[kept] = tensors[ITEM_TABLE][[old_row[vocabulary.items[i]] for i in kept]]
    return layout.join(fresh | {**tensors, ITEM_TABLE: table})


def random_start(config: ModelConfig, vocabulary: Vocabulary) -> Vector:
    """Random parameters, float32 [d]."""
    return initial_vector(config, vocabulary.size)
