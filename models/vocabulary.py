"""The items that a model knows, in a fixed order, and what is fixed of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.item_features import ItemFeatures

FROZEN_TENSORS = ("items.features", "items.bias")
FEATURE_NAMES = "item_features"
"""Key of the names of the features in the metadata of a saved model."""


class Vocabulary:
    """Item ids; an item's index is its position.

    No dataclass: Prefect looks into every element of one, at every task call.

    Attributes:
        items: sorted, distinct.
        features: public descriptions of the items; None: the model has a table.
        bias: float32 [V], added to every score and never trained; None: nothing is.
    """

    def __init__(
        self,
        items: Iterable[str],
        features: ItemFeatures | None = None,
        bias: NDArray[np.float32] | None = None,
    ) -> None:
        self.items = tuple(items)
        self.features = features
        self.bias = bias

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and (
            self.items == other.items and self._frozen_hash == other._frozen_hash
        )

    def __hash__(self) -> int:
        return hash((self.items, self._frozen_hash))

    @classmethod
    def of_model(
        cls,
        items: Iterable[str],
        tensors: Mapping[str, NDArray[np.float32]],
        metadata: Mapping[str, str],
    ) -> Vocabulary:
        """The vocabulary of a saved model, with what is frozen of it."""
        names = json.loads(metadata.get(FEATURE_NAMES, "[]"))
        values, bias = (tensors.get(name) for name in FROZEN_TENSORS)
        features = None if values is None else ItemFeatures(names, values)
        return cls(items, features, bias)

    def biased(self, bias: NDArray[np.float32]) -> Vocabulary:
        """The same items with `bias` [V] on their scores."""
        return Vocabulary(self.items, self.features, bias)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What the K features of an item stand for; none where there is a table."""
        return () if self.features is None else self.features.names

    @property
    def frozen(self) -> dict[str, NDArray[np.float32]]:
        """Named tensors that belong to every model of this vocabulary, untrained."""
        features = None if self.features is None else self.features.values
        tensors = zip(FROZEN_TENSORS, (features, self.bias), strict=True)
        return {name: tensor for name, tensor in tensors if tensor is not None}

    @property
    def size(self) -> int:
        """V."""
        return len(self.items)

    @cached_property
    def index(self) -> dict[str, int]:
        """Item id -> index."""
        return {item: position for position, item in enumerate(self.items)}

    @cached_property
    def _frozen_hash(self) -> str:
        content = [tensor.tobytes() for tensor in self.frozen.values()]
        return hashlib.sha256(b"".join(content)).hexdigest()

    @cached_property
    def sha256(self) -> str:
        """Hash of the item ids in order, as a JSON list."""
        text = json.dumps(list(self.items), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class StockedItems:
    """Which items of the vocabulary a silo can recommend.

    Attributes:
        mask: bool [V].
    """

    mask: NDArray[np.bool_]
