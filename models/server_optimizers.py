"""How the mean of the silos' updates moves the global model.

Algorithm 2 of Reddi et al. 2021, "Adaptive Federated Optimization": the mean update
is a pseudo-gradient (pointing downhill already). sgd with learning rate 1 is plain
federated averaging (McMahan et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.settings.training import ServerOptimizerConfig
from models.chunks import chunks

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ServerState:
    """Moments of the server optimiser, each float64 [d]."""

    first: Floats
    second: Floats

    @classmethod
    def fresh(cls, size: int, config: ServerOptimizerConfig) -> ServerState:
        """The state before round 1; v starts at tau^2 as in Algorithm 2.

        Both are one number, seen d times: a step that changes a moment makes room.
        """
        return cls(
            np.broadcast_to(np.float64(0), size),
            np.broadcast_to(np.float64(config.epsilon**2), size),
        )


Step = Callable[
    [Floats, ServerState, ServerOptimizerConfig], tuple[Floats, ServerState]
]


def sgd(
    update: Floats, state: ServerState, config: ServerOptimizerConfig
) -> tuple[Floats, ServerState]:
    """Plain step: x <- x + eta * update."""
    return config.learning_rate * update, state


def momentum(
    update: Floats, state: ServerState, config: ServerOptimizerConfig
) -> tuple[Floats, ServerState]:
    """Heavy ball: M <- beta M + update; x <- x + eta * M (FedAvgM, Hsu et al. 2019)."""
    first = config.momentum * state.first + update
    return config.learning_rate * first, ServerState(first, state.second)


def nesterov(
    update: Floats, state: ServerState, config: ServerOptimizerConfig
) -> tuple[Floats, ServerState]:
    """Nesterov: M <- beta M + update; x <- x + eta * (update + beta M).

    The outer optimiser of DiLoCo (Douillard et al. 2023, section 2).
    """
    first = config.momentum * state.first + update
    step = config.learning_rate * (update + config.momentum * first)
    return step, ServerState(first, state.second)


def adam(
    update: Floats, state: ServerState, config: ServerOptimizerConfig
) -> tuple[Floats, ServerState]:
    """FedAdam: V <- beta2 V + (1 - beta2) update^2."""
    decay = config.second_momentum
    second = decay * state.second + (1 - decay) * update**2
    return _adaptive(update, state, second, config)


def yogi(
    update: Floats, state: ServerState, config: ServerOptimizerConfig
) -> tuple[Floats, ServerState]:
    """FedYogi: V <- V - (1 - beta2) update^2 sign(V - update^2)."""
    square = update**2
    second = state.second - (1 - config.second_momentum) * square * np.sign(
        state.second - square
    )
    return _adaptive(update, state, second, config)


def _adaptive(
    update: Floats, state: ServerState, second: Floats, config: ServerOptimizerConfig
) -> tuple[Floats, ServerState]:
    first = config.momentum * state.first + (1 - config.momentum) * update
    step = config.learning_rate * first / (np.sqrt(second) + config.epsilon)
    return step, ServerState(first, second)


STEPS: dict[str, Step] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "yogi": yogi,
}


def server_step(
    update: Floats, state: ServerState, config: ServerOptimizerConfig
) -> tuple[Floats, ServerState]:
    """(change of the global model [d], next state) for a mean update [d]."""
    return STEPS[config.name](update, state, config)


def step_in_pieces(
    vector: NDArray[np.float32],
    update: Floats,
    state: ServerState,
    config: ServerOptimizerConfig,
) -> tuple[NDArray[np.float32], ServerState]:
    """(the global model [d] after one server step, next state).

    Added in double precision and rounded once. Beside what is returned, memory holds
    some pieces of a vector; a moment that the step leaves alone is not copied.
    """
    after = np.empty_like(vector)
    moments = {"first": state.first, "second": state.second}
    for piece in chunks(len(vector)):
        before = ServerState(state.first[piece], state.second[piece])
        change, then = server_step(update[piece], before, config)
        np.add(vector[piece], change, out=after[piece], casting="same_kind")
        for name in moments:
            if (moment := getattr(then, name)) is getattr(before, name):
                continue
            if moments[name] is getattr(state, name):
                moments[name] = np.empty(len(vector))
            moments[name][piece] = moment
    return after, ServerState(**moments)
