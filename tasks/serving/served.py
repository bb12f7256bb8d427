"""One model as it is served: everything that an answer needs, never changed.

A request takes one `Served` and keeps it to its end, so no answer is made of two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from data_contracts.columns import Column
from data_contracts.recommendations import SavedModel
from models.recommenders.nearest_items import Found, NearestItems, nearest_items
from models.recommenders.saved import SavedRecommender
from models.recommenders.top_items import NOBODY, popular_items

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class People:
    """What the silo's people used, by user id; never leaves the process.

    Attributes:
        items: item ids of everybody, one person after the other, the oldest first.
        places: user id -> where that person's items begin and end.
        uses: item id -> how often it was used.
    """

    items: pa.Array
    places: Mapping[str, tuple[int, int]]
    uses: Mapping[str, int]

    @classmethod
    def of(cls, interactions: pa.Table) -> People:
        """Order a canonical table of interactions."""
        ordered = interactions.sort_by(
            [(Column.USER, "ascending"), (Column.TIMESTAMP, "ascending")]
        )
        runs = pc.run_end_encode(ordered[Column.USER].combine_chunks())
        ends = runs.run_ends.to_pylist()
        spans = zip([0, *ends], ends, strict=False)
        counted = pc.value_counts(ordered[Column.ITEM])
        return cls(
            ordered[Column.ITEM].combine_chunks(),
            dict(zip(runs.values.to_pylist(), spans, strict=True)),
            {row["values"]: row["counts"] for row in counted.to_pylist()},
        )

    def history(self, user: str) -> list[str] | None:
        """A person's item ids, the oldest first; None: nobody of the silo."""
        if user not in self.places:
            return None
        start, stop = self.places[user]
        items: list[str] = self.items[start:stop].to_pylist()
        return items


@dataclass(frozen=True)
class Answer:
    """What is recommended.

    Attributes:
        items: (item id, score), the best first.
        model_sha256: by which model.
        unknown: items of the history that the model does not know.
        by_popularity: whether none is known, so that popularity had to do.
    """

    items: list[tuple[str, float]]
    model_sha256: str
    unknown: int
    by_popularity: bool


@dataclass(frozen=True)
class Served:
    """A model, what may be recommended, and what to say to strangers.

    Attributes:
        model: as the silo has it.
        recommender: in evaluation mode, on the CPU.
        index: item id -> row.
        nearest: finds the best items.
        popular: what is used most in the silo, the best first.
    """

    model: SavedModel
    recommender: SavedRecommender
    index: Mapping[str, int]
    nearest: NearestItems
    popular: Found

    @classmethod
    def of(
        cls,
        model: SavedModel,
        allowed: NDArray[np.bool_],
        uses: Mapping[str, int],
        approximate_above: int,
    ) -> Served:
        """Build, and answer once so that the first request finds everything warm.

        Args:
            model: as the silo has it.
            allowed: bool [V].
            uses: item id -> how often it is used in the silo.
            approximate_above: items from which an index is used.

        Raises:
            LineageError: the model's file holds something else than it says.
        """
        saved = SavedRecommender.of_model(model.items, model.tensors, model.metadata)
        rows = saved.module.items.weight.detach().float().contiguous()
        bias = saved.module.item_bias
        counts = np.array([uses.get(item, 0) for item in model.items])
        items, scores = popular_items(counts, torch.from_numpy(allowed), len(counts))
        popular = [
            (int(item), float(score))
            for item, score in zip(items[0], scores[0], strict=True)
            if item != NOBODY
        ]
        served = cls(
            model,
            saved,
            {item: row for row, item in enumerate(model.items) if item},
            nearest_items(rows, bias, allowed, approximate_above),
            popular,
        )
        served.answer(model.items[:1], k=1)
        return served

    def answer(
        self,
        history: Sequence[str],
        *,
        k: int,
        excluded: Collection[str] = (),
        exclude_seen: bool = True,
    ) -> Answer:
        """The best items after a history.

        Args:
            history: item ids, the oldest first.
            k: how many items.
            excluded: item ids that are not wanted.
            exclude_seen: leave out the history.
        """
        known = [self.index[item] for item in history if item in self.index]
        barred = {self.index[item] for item in excluded if item in self.index}
        barred |= set(known) if exclude_seen else set()
        if known:
            found = self.nearest.best(self._summary(known), barred, k)
        else:
            found = [pair for pair in self.popular if pair[0] not in barred][:k]
        return Answer(
            [(self.model.items[item], score) for item, score in found],
            self.model.sha256,
            len(history) - len(known),
            not known,
        )

    def _summary(self, known: Sequence[int]) -> torch.Tensor:
        recent = torch.tensor([known[-self.recommender.config.context :]])  # [1, L]
        with torch.inference_mode():
            length = torch.tensor([recent.shape[1]])
            return self.recommender.module.summary(recent, length)[0].float()
