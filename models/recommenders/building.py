"""From a model's configuration to a module, a first vector, and a scorer."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_contracts.settings.training import ModelConfig
from models.full_ranking import Scorer
from models.item_features import ItemFeatures
from models.parameters import ParameterLayout, Vector, layout_of, read_vector
from models.recommenders.feature_items import FeatureItems, TableAndFeatureItems
from models.recommenders.low_rank import adapt, learns
from models.recommenders.sequence_recommender import Items, SequenceRecommender
from models.sequences import right_padded
from models.vocabulary import Vocabulary

ITEM_TABLE = "items.weight"
ITEM_PROJECTION = "items.projection"
ITEM_ROWS = "items.rows"


def build_recommender(
    config: ModelConfig, num_items: int, features: ItemFeatures | None = None
) -> SequenceRecommender:
    """A module with the configured sizes; its parameters are not initialised.

    Args:
        config: architecture.
        num_items: V.
        features: of the items, where `config.items` asks for them.
    """
    module = _on_meta(config, num_items if features is None else 0)
    module = module.to_empty(device="cpu")
    module.num_items = num_items
    if features is not None:
        values = torch.from_numpy(features.values)
        module.items = _described(config, values, num_items)
    if config.low_rank:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(learns(name))
    return module


@cache
def layout_for(
    config: ModelConfig, num_items: int, num_features: int = 0
) -> ParameterLayout:
    """Names and shapes of the model's tensors, without allocating a table."""
    module = _on_meta(config, num_items)
    if num_features:
        module.items = _described(config, torch.zeros(0, num_features), num_items)
    return layout_of(module)


def table_of(layout: ParameterLayout) -> str:
    """Name of the tensor with a row for each item, if the model has one."""
    return ITEM_ROWS if ITEM_ROWS in layout.names else ITEM_TABLE


def _described(config: ModelConfig, features: Tensor, num_items: int) -> Items:
    if config.items != "table+text":
        return FeatureItems(features, config.dim)
    return TableAndFeatureItems(features, num_items, config.dim, config.hidden_rows)


def layout_over(config: ModelConfig, vocabulary: Vocabulary) -> ParameterLayout:
    """The layout of the model over this vocabulary."""
    features = vocabulary.features
    num_features = 0 if features is None else len(features.names)
    return layout_for(config, vocabulary.size, num_features)


def _on_meta(config: ModelConfig, num_items: int) -> SequenceRecommender:
    # Else torch draws random numbers that nobody would ever see.
    with torch.device("meta"):
        module = SequenceRecommender(
            num_items,
            config.dim,
            config.blocks,
            config.heads,
            config.dropout,
            config.architecture,
        )
        if config.low_rank:
            adapt(module.blocks, config.low_rank)
        return module


def initial_vector(
    config: ModelConfig, num_items: int, features: ItemFeatures | None = None
) -> Vector:
    """Random parameters from `config.init_seed`, float32 [d]."""
    module = build_recommender(config, num_items, features)
    module.initialise(torch.Generator().manual_seed(config.init_seed))
    if isinstance(module.items, TableAndFeatureItems):
        nn.init.zeros_(module.items.rows)
    for name, parameter in module.named_parameters():
        if config.low_rank and learns(name):
            nn.init.zeros_(parameter)
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
