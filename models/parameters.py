"""Named tensors <-> one flat float32 vector, the form in which models travel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class ParameterLayout:
    """Names and shapes of a model's tensors, in the order of the flat vector."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of coordinates d."""
        return sum(prod(shape) for shape in self.shapes)

    def split(self, vector: Vector) -> dict[str, NDArray[np.float32]]:
        """Views of `vector` [d], one per tensor."""
        if vector.shape != (self.size,):
            raise ValueError(f"expected [{self.size}], got {list(vector.shape)}")
        ends = np.cumsum([prod(shape) for shape in self.shapes])
        pieces = np.split(vector, ends[:-1])
        return {
            name: piece.reshape(shape)
            for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)
        }

    def join(self, tensors: Mapping[str, NDArray[np.float32]]) -> Vector:
        """The flat vector of `tensors`; names and shapes must be the layout's."""
        if {name: tuple(t.shape) for name, t in tensors.items()} != dict(
            zip(self.names, self.shapes, strict=True)
        ):
            raise ValueError("tensors do not fit the layout by name and shape")
        return np.concatenate(
            [tensors[name].astype(np.float32).ravel() for name in self.names]
        )


@dataclass(frozen=True)
class AloneModel:
    """A model trained on one silo's data alone; it never leaves that silo."""

    vector: Vector


def layout_of(module: nn.Module) -> ParameterLayout:
    """The layout of a module's parameters, in definition order."""
    named = list(module.named_parameters())
    return ParameterLayout(
        tuple(name for name, _ in named), tuple(tuple(p.shape) for _, p in named)
    )


def read_vector(module: nn.Module) -> Vector:
    """Copy of all parameters as one float32 vector [d]."""
    flat = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    return np.ascontiguousarray(flat.to("cpu", torch.float32).numpy())


def write_vector(module: nn.Module, vector: Vector) -> None:
    """Overwrite all parameters with `vector` [d], which may be read-only."""
    flat = torch.from_numpy(np.array(vector, dtype=np.float32))
    start = 0
    with torch.no_grad():
        for parameter in module.parameters():
            stop = start + parameter.numel()
            parameter.copy_(flat[start:stop].view_as(parameter))
            start = stop
    assert start == len(flat), "vector and module differ in size"


def vector_hash(vector: Vector) -> str:
    """SHA-256 of the vector's little-endian float32 bytes."""
    return hashlib.sha256(np.ascontiguousarray(vector, "<f4").data).hexdigest()
