"""What a silo is told to recommend by, and what it says it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_contracts.settings.recommendation import ItemRules


@dataclass(frozen=True)
class SavedModel:
    """The content of a published model's file.

    Attributes:
        sha256: of the file.
        run_id: the run that published it.
        round_number: its round.
        items: ids, or names under a key, in row order.
        tensors: float32, by name.
        metadata: of the file.
    """

    sha256: str
    run_id: str
    round_number: int
    items: tuple[str, ...]
    tensors: Mapping[str, NDArray[np.float32]] = field(repr=False)
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class RecommendationJob:
    """What every silo does.

    Attributes:
        k: items for each person.
        rules: which items.
        users_at_once: of a batch.
        shards: workers that share the silo's people.
        made_at: one moment for all rows, ISO 8601.
        tell_counts: whether numbers of people may leave the silo; not where training
            is private.
    """

    k: int
    rules: ItemRules
    users_at_once: int
    shards: int
    made_at: str
    tell_counts: bool = True


@dataclass(frozen=True)
class RecommendationReceipt:
    """What a silo tells of its recommendations; two significant digits each.

    Attributes:
        users: people who got some; None: not told.
        without_history: of them, by popularity alone, as no item of theirs is known.
        seconds: of all of it.
        table: folder of the silo's own table.
    """

    users: int | None
    without_history: int | None
    seconds: float
    table: str


@dataclass(frozen=True)
class BatchRecommendations:
    """What came of a batch.

    Attributes:
        model_sha256: who recommended.
        receipts: silo -> what it did.
        refused: silo -> why it did nothing.
    """

    model_sha256: str
    receipts: Mapping[str, RecommendationReceipt]
    refused: Mapping[str, str]
