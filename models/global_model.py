"""The global model between rounds, and how a mean update moves it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_contracts.settings.training import ServerOptimizerConfig
from models.parameters import Vector, vector_hash
from models.server_optimizers import ServerState, step_in_pieces


@dataclass(frozen=True)
class GlobalModel:
    """The model that silos receive, and the server optimiser's memory.

    Attributes:
        vector: float32 [d].
        server_state: moments of the server optimiser.
        vector_hash: SHA-256 of the vector; part of every secure sum's context.
    """

    vector: Vector
    server_state: ServerState
    vector_hash: str


def fresh_model(vector: Vector, config: ServerOptimizerConfig) -> GlobalModel:
    """The model before round 1."""
    state = ServerState.fresh(len(vector), config)
    return GlobalModel(vector, state, vector_hash(vector))


def moved(
    model: GlobalModel, update: np.ndarray, config: ServerOptimizerConfig
) -> GlobalModel:
    """The candidate after one server step along the mean update, float64 [d]."""
    vector, state = step_in_pieces(model.vector, update, model.server_state, config)
    return GlobalModel(vector, state, vector_hash(vector))
