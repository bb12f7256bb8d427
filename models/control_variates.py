"""SCAFFOLD: every local step is corrected by how this silo's pull differs from all's.

Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated
Learning", Algorithm 1. A silo steps along g - c_k + c. Its control variate c_k is the
mean of the gradients of its last round (option II of the paper: with plain SGD
c_k - c + (x - y_k) / (K eta) is that mean), c the weighted mean of all silos' c_k.

Where this differs from the paper: silos send c_k and not its change, so that c is the
mean of who is in the last sum, and a contribution that was lost leaves no error
behind; the mean is taken of clipped gradients and within the steps, so it also holds
for optimizers other than SGD, for which the paper proves nothing; and a silo that has
no c_k yet takes c for it and trains without a correction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_contracts.settings.training import LocalTrainingConfig
from models.global_model import GlobalModel
from models.parameters import Vector, vector_hash


@dataclass(frozen=True)
class RoundStart:
    """What silos begin a round with.

    Attributes:
        vector: float32 [d], the global model, or [2 d] with c behind it.
        vector_hash: SHA-256 of all of it; part of the context of the round's sum.
    """

    vector: Vector
    vector_hash: str


def round_start(
    model: GlobalModel,
    variate: NDArray[np.floating] | None,
    config: LocalTrainingConfig,
) -> RoundStart:
    """The global model, and with it the control variate of all where it is used.

    Args:
        model: of the round.
        variate: float [d], c as the last round summed it up; None: zero, as before
            round 1.
        config: `drift_correction` says whether it is used.
    """
    if config.drift_correction == "none":
        return RoundStart(model.vector, model.vector_hash)
    shared = np.zeros_like(model.vector) if variate is None else variate
    vector = np.concatenate([model.vector, shared.astype(np.float32)])
    return RoundStart(vector, vector_hash(vector))


class DriftCorrection:
    """Adds `c - c_k` to the gradients of every step, and takes the mean of theirs.

    Args:
        module: whose parameters are trained.
        shared: float32 [d], c.
        own: float32 [d], c_k of the last round that this silo trained; None: it has
            trained none.
    """

    def __init__(self, module: nn.Module, shared: Vector, own: Vector | None) -> None:
        self._parameters = list(module.parameters())
        self._own = shared if own is None else own
        self._pulls = self._like_parameters(shared - self._own)
        self._sums = [torch.zeros_like(p) for p in self._parameters]
        self._steps = 0

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Count the gradients that are there into the mean, then correct them."""
        self._steps += 1
        for parameter, pull, total in zip(
            self._parameters, self._pulls, self._sums, strict=True
        ):
            if parameter.grad is not None:
                total.add_(parameter.grad)
                parameter.grad.add_(pull)

    def mean_gradient(self) -> Vector:
        """The new c_k, float32 [d]; without a step the old one."""
        if not self._steps:
            return self._own
        flat = torch.cat([total.reshape(-1) for total in self._sums]) / self._steps
        return np.ascontiguousarray(flat.to("cpu", torch.float32).numpy())

    def _like_parameters(self, vector: Vector) -> list[Tensor]:
        """`vector` [d] cut into tensors of the parameters' shapes and devices."""
        ends = np.cumsum([parameter.numel() for parameter in self._parameters])
        pieces = np.split(vector, ends[:-1])
        return [
            torch.from_numpy(piece).view_as(parameter).to(parameter.device)
            for piece, parameter in zip(pieces, self._parameters, strict=True)
        ]
