"""Models of F features with one output, by name, and their first parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from models.parameters import Vector, layout_of, read_vector

HIDDEN = 16


def linear(num_features: int) -> nn.Module:
    """A line, x . w + b; with a BCE head, logistic regression."""
    return nn.Linear(num_features, 1)


def mlp(num_features: int) -> nn.Module:
    """One hidden layer of 16 tanh units."""
    return nn.Sequential(
        nn.Linear(num_features, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1)
    )


MODELS: dict[str, Callable[[int], nn.Module]] = {"linear": linear, "mlp": mlp}


def build_model(name: str, num_features: int) -> nn.Module:
    """A module [N, F] -> [N, 1], in double precision: few rows, small steps."""
    return MODELS[name](num_features).double()


def first_vector(name: str, num_features: int, seed: int) -> Vector:
    """Parameters before round 1, float32 [d]: zeros of a line, random of a network."""
    module = build_model(name, num_features)
    if name == "linear":
        return np.zeros(layout_of(module).size, dtype=np.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 1.0, generator=generator)
    with torch.no_grad():  # a small output at first, whatever the hidden units say
        list(module.parameters())[-2].mul_(HIDDEN**-0.5)
    return read_vector(module)


def outputs(module: nn.Module, features: Tensor) -> Tensor:
    """One output per row, [N]."""
    return torch.squeeze(module(features), dim=1)
