"""The items that a model knows, in a fixed order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class Vocabulary:
    """Item ids; an item's index is its position.

    No dataclass: Prefect looks into every element of one, at every task call.

    Attributes:
        items: sorted, distinct.
    """

    def __init__(self, items: Iterable[str]) -> None:
        self.items = tuple(items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)

    @property
    def size(self) -> int:
        """V."""
        return len(self.items)

    @cached_property
    def index(self) -> dict[str, int]:
        """Item id -> index."""
        return {item: position for position, item in enumerate(self.items)}

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
