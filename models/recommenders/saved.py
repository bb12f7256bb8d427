"""A saved recommender, ready to score: module, vocabulary and architecture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from data_contracts.errors import LineageError
from data_contracts.settings.training import ModelConfig
from models.full_ranking import Scorer
from models.parameters import write_vector
from models.recommenders.building import (
    build_recommender,
    history_scorer,
    layout_over,
)
from models.recommenders.sequence_recommender import SequenceRecommender
from models.vocabulary import Vocabulary

ARCHITECTURE = "model"
"""Key of the architecture in the metadata of a saved model."""


@dataclass(frozen=True)
class SavedRecommender:
    """What a model file holds, as one thing that scores histories.

    Attributes:
        config: architecture.
        vocabulary: its items, with what is frozen of them.
        module: with its parameters, in evaluation mode.
    """

    config: ModelConfig
    vocabulary: Vocabulary
    module: SequenceRecommender

    @classmethod
    def of_model(
        cls,
        items: Iterable[str],
        tensors: Mapping[str, NDArray[np.float32]],
        metadata: Mapping[str, str],
    ) -> SavedRecommender:
        """The recommender behind the content of a model file.

        Raises:
            LineageError: the file holds no architecture that this version knows, or
                other tensors than that has.
        """
        try:
            config = ModelConfig.model_validate_json(metadata.get(ARCHITECTURE, ""))
        except ValidationError:
            raise LineageError(
                "the model file names no architecture that this version of silorec "
                "builds; use the version that trained it"
            ) from None
        vocabulary = Vocabulary.of_model(items, tensors, metadata)
        layout = layout_over(config, vocabulary)
        wanted = dict(zip(layout.names, layout.shapes, strict=True))
        misfits = [
            name
            for name, shape in wanted.items()
            if name not in tensors or tensors[name].shape != shape
        ]
        if misfits:
            raise LineageError(
                f"the model file lacks tensor {misfits[0]} of shape "
                f"{wanted[misfits[0]]}, which its own architecture has; restore it "
                "from a backup"
            )
        module = build_recommender(config, vocabulary.size, vocabulary.features)
        write_vector(module, layout.join({name: tensors[name] for name in wanted}))
        if vocabulary.bias is not None:
            module.set_item_bias(torch.from_numpy(vocabulary.bias.copy()))
        return cls(config, vocabulary, module.eval())

    @property
    def scorer(self) -> Scorer:
        """Histories -> scores [B, V]."""
        return history_scorer(self.module, self.config.context)
