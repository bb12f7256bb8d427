"""Ranks for some of a silo's people; one of them, or one in each worker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.recommendations import RecommendationJob, SavedModel
from models.histories import History
from models.recommenders.saved import SavedRecommender
from models.recommenders.top_items import Top, best_items

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RankerInput:
    """Everything that a ranker needs; all of it stays inside the silo.

    Attributes:
        model: as the silo has it.
        history: of the silo's people.
        allowed: bool [V]; what may be recommended.
        job: of the batch.
        gpu: whether the silo was given one.
    """

    model: SavedModel
    history: History
    allowed: NDArray[np.bool_]
    job: RecommendationJob
    gpu: bool = False


class Ranker:
    """A model that is loaded once and then asked again and again."""

    def __init__(self, given: RankerInput) -> None:
        self._given = given
        model = given.model
        saved = SavedRecommender.of_model(model.items, model.tensors, model.metadata)
        device = "cuda" if given.gpu and torch.cuda.is_available() else "cpu"
        self._context = saved.config.context
        self._module = saved.module.to(device)
        self._allowed = torch.from_numpy(given.allowed.copy()).to(device)

    def rank(self, places: Ints) -> Top:
        """The best items of these people, by their places in the history.

        Args:
            places: int64 [B].
        """
        given = self._given
        return best_items(
            self._module,
            [given.history.of(place) for place in places],
            self._allowed,
            given.job.k,
            context=self._context,
            exclude_seen=not given.job.rules.seen,
        )
