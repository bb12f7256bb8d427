"""The items with the greatest scores for one person: exact, or by an index.

A score is the inner product of a person's summary [D] and an item's row [D], plus the
item's bias. For the index, the bias is one more coordinate, of which people have 1.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_contracts.errors import ConfigError

Found = list[tuple[int, float]]
"""(item, score), the best first."""


class NearestItems(Protocol):
    """Finds the best items for one summary."""

    def best(self, summary: Tensor, excluded: Collection[int], k: int) -> Found:
        """At most k allowed items that are not excluded.

        Args:
            summary: float32 [D].
            excluded: items.
            k: how many.
        """


class ExactItems:
    """Every item is scored: the fastest way up to hundreds of thousands."""

    def __init__(
        self, rows: Tensor, bias: Tensor | None, allowed: NDArray[np.bool_]
    ) -> None:
        """Rows [V, D], bias [V]; only allowed items are ever found."""
        self._rows, self._bias = rows, bias
        self._barred = torch.from_numpy(np.flatnonzero(~allowed))

    def best(self, summary: Tensor, excluded: Collection[int], k: int) -> Found:
        """Score all, bar some, take the first k."""
        scores = self._rows @ summary
        if self._bias is not None:
            scores = scores + self._bias
        scores[self._barred] = -torch.inf
        scores[list(excluded)] = -torch.inf
        values, items = torch.topk(scores, min(k, len(scores)))
        pairs = zip(items.tolist(), values.tolist(), strict=True)
        return [(item, value) for item, value in pairs if value > -torch.inf]


class ApproximateItems:
    """A graph of neighbours (HNSW, Malkov and Yashunin 2018), by usearch."""

    def __init__(
        self, rows: Tensor, bias: Tensor | None, allowed: NDArray[np.bool_]
    ) -> None:
        """Index the allowed rows.

        Raises:
            ConfigError: usearch is not installed.
        """
        try:
            from usearch.index import Index
        except ImportError:
            raise ConfigError(
                f"{len(rows)} items are more than approximate_above, and the index for "
                "that needs usearch; install silorec[ann], or raise approximate_above"
            ) from None
        keys = np.flatnonzero(allowed)
        shift = torch.zeros(len(rows)) if bias is None else bias
        vectors = torch.cat([rows, shift[:, None]], dim=1).numpy()[keys]
        self._index = Index(ndim=vectors.shape[1], metric="ip", dtype="f32")
        self._index.add(keys, vectors)
        self._size = len(keys)

    def best(self, summary: Tensor, excluded: Collection[int], k: int) -> Found:
        """Ask for as many more as might be excluded."""
        query = torch.cat([summary, torch.ones(1)]).numpy()
        count = min(k + len(excluded), self._size)
        matches = self._index.search(query, count)
        found: Found = []
        # The distance of inner products is 1 - product.
        for item, distance in zip(matches.keys, matches.distances, strict=True):
            if int(item) not in excluded and len(found) < k:
                found.append((int(item), 1.0 - float(distance)))
        return found


def nearest_items(
    rows: Tensor,
    bias: Tensor | None,
    allowed: NDArray[np.bool_],
    approximate_above: int,
) -> NearestItems:
    """The search that suits so many items."""
    kind = ApproximateItems if len(rows) > approximate_above else ExactItems
    return kind(rows, bias, allowed)
