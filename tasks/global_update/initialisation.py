"""The first global model: random, or a checkpoint carried over item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ConfigError
from data_contracts.settings.training import ModelConfig
from models.parameters import Vector
from models.recommenders.building import (
    ITEM_PROJECTION,
    ITEM_ROWS,
    ITEM_TABLE,
    initial_vector,
    layout_over,
)
from models.recommenders.low_rank import adapted, merged
from models.vocabulary import FROZEN_TENSORS, Vocabulary


def warm_start(
    config: ModelConfig,
    vocabulary: Vocabulary,
    tensors: Mapping[str, NDArray[np.float32]],
    known_items: tuple[str, ...],
    known_features: tuple[str, ...] = (),
) -> Vector:
    """A checkpoint's parameters for the present vocabulary, float32 [d].

    Items, or features of items, that the checkpoint knows keep their row; new ones
    start random; those that are gone are dropped. Adapters of the checkpoint are added
    to its layers; with `config.low_rank` fresh ones stand beside them.

    Args:
        config: architecture; must be the checkpoint's.
        vocabulary: present items.
        tensors: the checkpoint's tensors by name.
        known_items: the checkpoint's items, in the order of its item table.
        known_features: its features, in the order of its projection.

    Raises:
        ConfigError: the checkpoint has another architecture.
    """
    if config.low_rank:
        plain = config.model_copy(update={"low_rank": None})
        whole = warm_start(plain, vocabulary, tensors, known_items, known_features)
        return _beside_adapters(whole, config, plain, vocabulary)
    layout = layout_over(config, vocabulary)
    fresh = dict(layout.split(random_start(config, vocabulary)))
    trained = {n: t for n, t in merged(tensors).items() if n not in FROZEN_TENSORS}
    wanted = dict(zip(layout.names, layout.shapes, strict=True))
    rows = {
        ITEM_TABLE: (known_items, vocabulary.items),
        ITEM_ROWS: (known_items, vocabulary.items),
        ITEM_PROJECTION: (known_features, vocabulary.feature_names),
    }
    named = {name: rows[name] for name in rows if name in wanted}
    wanted |= {name: (len(known), config.dim) for name, (known, _) in named.items()}
    found = {name: tuple(tensor.shape) for name, tensor in trained.items()}
    if misfits := sorted(name for name, _ in wanted.items() ^ found.items()):
        raise ConfigError(
            f"model.init_from: the checkpoint does not fit the model section at "
            f"{misfits[0]}; use the architecture, items, dim, blocks and heads it was "
            "trained with"
        )
    for name, (known, present) in named.items():
        trained[name] = _carried(fresh[name], trained[name], known, present)
    return layout.join(trained)


def _beside_adapters(
    whole: Vector, config: ModelConfig, plain: ModelConfig, vocabulary: Vocabulary
) -> Vector:
    """A model of configuration `plain` with fresh adapters, as `config` has it."""
    layout = layout_over(config, vocabulary)
    fresh = layout.split(random_start(config, vocabulary))
    return layout.join(adapted(layout_over(plain, vocabulary).split(whole), fresh))


def _carried(
    fresh: NDArray[np.float32],
    old: NDArray[np.float32],
    known: Sequence[str],
    present: Sequence[str],
) -> NDArray[np.float32]:
    """`fresh` with the rows of `old` wherever a name was known."""
    old_row = {name: row for row, name in enumerate(known)}
    kept = [row for row, name in enumerate(present) if name in old_row]
    table = fresh.copy()
    table[kept] = old[[old_row[present[row]] for row in kept]]
    return table


def random_start(config: ModelConfig, vocabulary: Vocabulary) -> Vector:
    """Random parameters, float32 [d]."""
    return initial_vector(config, vocabulary.size, vocabulary.features)
