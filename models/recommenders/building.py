"""From a model's configuration to a module, a first vector, and a scorer."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.settings.training import ModelConfig
from models.full_ranking import Scorer
from models.parameters import ParameterLayout, Vector, layout_of, read_vector
from models.recommenders.sequence_recommender import SequenceRecommender
from models.sequences import right_padded

ITEM_TABLE = "items.weight"


def build_recommender(config: ModelConfig, num_items: int) -> SequenceRecommender:
    """A module with the configured sizes; its parameters are not initialised."""
    # Else torch draws random numbers that nobody would ever see.
    with torch.device("meta"):
        module = SequenceRecommender(
            num_items, config.dim, config.blocks, config.heads, config.dropout
        )
    return module.to_empty(device="cpu")


@cache
def layout_for(config: ModelConfig, num_items: int) -> ParameterLayout:
    """Names and shapes of the model's tensors, without allocating them."""
    with torch.device("meta"):
        return layout_of(
            SequenceRecommender(num_items, config.dim, config.blocks, config.heads, 0.0)
        )


def initial_vector(config: ModelConfig, num_items: int) -> Vector:
    """Random parameters from `config.init_seed`, float32 [d]."""
    module = build_recommender(config, num_items)
    module.initialise(torch.Generator().manual_seed(config.init_seed))
    return read_vector(module)


def history_scorer(module: SequenceRecommender, context: int) -> Scorer:
    """Scores after the last `context` items of each history; no dropout."""
    device = module.items.weight.device

    def score(histories: list[NDArray[np.int32]]) -> NDArray[np.floating]:
        items, lengths = right_padded([history[-context:] for history in histories])
        module.eval()
        with torch.inference_mode():
            scores = module.score(
                torch.from_numpy(items).to(device),
                torch.from_numpy(lengths).to(device),
            )
        return np.asarray(scores.float().cpu().numpy())

    return score
