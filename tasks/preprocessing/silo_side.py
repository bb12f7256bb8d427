"""Preprocessing steps that run inside a silo."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import Column, TableName
from data_contracts.errors import SiloInputError
from data_contracts.settings.data import PreprocessingConfig
from data_contracts.settings.training import Weighting
from data_contracts.tables import SiloTables
from data_contracts.workspace import Contribution, SiloWorkspace
from models.fixed_point import encode_counts
from models.silo_weights import silo_weight
from models.vocabulary import StockedItems, Vocabulary
from tasks.preprocessing.cache import cache_key, read_sequences, write_sequences
from tasks.preprocessing.sequences import TimeCuts, build_sequences
from tasks.preprocessing.time_cuts import daily_counts


def count_days(workspace: SiloWorkspace, num_silos: int) -> None:
    """Shelve interactions per day, ready for a secure sum."""
    interactions = workspace.get(SiloTables).tables[TableName.INTERACTIONS]
    times = interactions[Column.TIMESTAMP].to_numpy().astype(np.int64)
    workspace.put(Contribution(encode_counts(daily_counts(times), num_silos)))


def preprocess(
    workspace: SiloWorkspace,
    vocabulary: Vocabulary,
    config: PreprocessingConfig,
    cuts: TimeCuts | None,
    num_silos: int,
    weighting: Weighting = "examples",
) -> None:
    """Shelve the silo's sequences, catalogue and, for a secure sum, their counts.

    The contribution is [training examples or their root, users]; weights of silos come
    from its sum.

    Raises:
        SiloInputError: nothing is left to train on.
    """
    tables = workspace.get(SiloTables)
    key = cache_key(
        tables.snapshot_hash,
        vocabulary.sha256,
        config.min_interactions_per_user,
        None if cuts is None else asdict(cuts),
    )
    path = workspace.folder / "sequences" / key
    data = read_sequences(path)
    if data is None:
        data = build_sequences(
            tables.tables[TableName.INTERACTIONS],
            vocabulary,
            config.min_interactions_per_user,
            cuts,
        )
        write_sequences(path, data)
    if not data.num_examples:
        raise SiloInputError(
            f"silo {workspace.silo}: no user has the "
            f"{config.min_interactions_per_user} interactions that "
            "preprocessing.min_interactions_per_user asks for; lower it or bring "
            "more data"
        )
    workspace.put(data)
    workspace.put(vocabulary)
    workspace.put(stocked_items(tables, vocabulary))
    counts = np.array([silo_weight(data.num_examples, weighting), data.num_users])
    workspace.put(Contribution(encode_counts(counts, num_silos)))


def stocked_items(tables: SiloTables, vocabulary: Vocabulary) -> StockedItems:
    """Items of the vocabulary in the silo's catalogue; without one, all of them."""
    if TableName.ITEMS not in tables.tables:
        return StockedItems(np.ones(vocabulary.size, dtype=bool))
    own = pc.unique(tables.tables[TableName.ITEMS][Column.ITEM])
    known = pc.is_in(pa.array(vocabulary.items, pa.string()), value_set=own)
    return StockedItems(np.asarray(known.to_numpy(zero_copy_only=False)))
