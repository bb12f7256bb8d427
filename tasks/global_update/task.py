"""Prefect edge of the global-update room."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.secure_sum import SecureSum
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.settings.training import ModelConfig, ServerOptimizerConfig
from models.global_model import GlobalModel, fresh_model, moved
from models.parameters import Vector
from models.vocabulary import FEATURE_NAMES, Vocabulary
from models.weighted_mean import WeightedMean
from tasks.global_update.combination import Encoding, combined
from tasks.global_update.initialisation import (
    random_start,
    warm_start,
)

NO_DEFENCES = SecureAggregationConfig()


class Checkpoint(Protocol):
    """A saved model: tensors by name, and its items in the order of their rows."""

    @property
    def tensors(self) -> Mapping[str, NDArray[np.float32]]:
        """Named parameters."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Item ids."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What was saved beside the tensors."""


@task(name="Initialise global model", cache_policy=NO_CACHE)
def initialise_global_model(
    model: ModelConfig,
    vocabulary: Vocabulary,
    server_optimizer: ServerOptimizerConfig,
    checkpoint: Checkpoint | None,
) -> GlobalModel:
    """The model before round 1: random, or carried over from a checkpoint."""
    vector = (
        random_start(model, vocabulary)
        if checkpoint is None
        else warm_start(
            model,
            vocabulary,
            checkpoint.tensors,
            checkpoint.vocabulary,
            tuple(json.loads(checkpoint.metadata.get(FEATURE_NAMES, "[]"))),
        )
    )
    return fresh_model(vector, server_optimizer)


@task(name="Restore global model", cache_policy=NO_CACHE)
def restore_global_model(
    vector: Vector, server_optimizer: ServerOptimizerConfig
) -> GlobalModel:
    """A model of an earlier round, for a server optimizer without a memory."""
    return fresh_model(vector, server_optimizer)


@task(
    name="Update global model",
    task_run_name="round-{round_number}-update",
    cache_policy=NO_CACHE,
)
def update_global_model(
    model: GlobalModel,
    summed: SecureSum,
    encoding: Encoding,
    config: ServerOptimizerConfig,
    round_number: int,
    defences: SecureAggregationConfig = NO_DEFENCES,
) -> tuple[GlobalModel, WeightedMean]:
    """(candidate, mean update): one server step along the securely summed updates.

    Raises:
        QuorumLostError: too few parts for the rule that combines them.
    """
    mean = combined(summed, encoding, defences)
    return moved(model, mean.update, config), mean
