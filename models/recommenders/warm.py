"""The module that a silo keeps over the steps of a run: only its numbers change.

Leaves out the numbers: whoever takes the module writes the vector it needs first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from data_contracts.settings.training import ModelConfig
from data_contracts.workspace import SiloWorkspace
from models.recommenders.building import build_recommender
from models.recommenders.sequence_recommender import SequenceRecommender
from models.vocabulary import Vocabulary


@dataclass(frozen=True)
class WarmRecommender:
    """A module on the silo's own hardware, and what it was built for."""

    config: ModelConfig
    vocabulary: Vocabulary
    module: SequenceRecommender


def warm_recommender(
    workspace: SiloWorkspace, config: ModelConfig
) -> SequenceRecommender:
    """The silo's module of this architecture, on its GPU if it was given one.

    Raises:
        SiloError: the silo has no vocabulary yet.
    """
    vocabulary = workspace.get(Vocabulary)
    if workspace.has(WarmRecommender):
        kept = workspace.get(WarmRecommender)
        if kept.config == config and kept.vocabulary is vocabulary:
            return kept.module
    module = build_recommender(config, vocabulary.size, vocabulary.features)
    if vocabulary.bias is not None:
        module.set_item_bias(torch.from_numpy(vocabulary.bias.copy()))
    compute = workspace.config.compute
    if compute and compute.num_gpus and torch.cuda.is_available():
        module = module.to("cuda")
    workspace.put(WarmRecommender(config, vocabulary, module))
    return module
