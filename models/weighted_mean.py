"""The weighted mean of silo updates, as what each silo puts into a secure sum.

The vector, in order: [w * model_delta (d) | w | w * loss / LOSS_SCALE], in fixed
point. w is the silo's share of all training examples (or 1 / number of silos), so that
sums stay within the range of one silo's and weights stay hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.fixed_point import FixedPoint
from models.parameters import Vector
from models.robust_aggregation import l2_norm

LOSS_SCALE = 64.0
EXTRA_COORDINATES = 2


@dataclass(frozen=True)
class WeightedMean:
    """A decoded sum of contributions.

    Attributes:
        update: float64 [d], the weighted mean of the model deltas.
        weight: summed weight of the silos that are in it.
        loss: weighted mean training loss, in nats.
        remarks: silo -> what a defence did to the update it is in, where it did.
    """

    update: NDArray[np.float64]
    weight: float
    loss: float
    remarks: Mapping[str, str] = field(default_factory=dict)

    @property
    def norm(self) -> float:
        """L2 norm of the mean update."""
        return l2_norm(self.update)


def shortened(model_delta: Vector, max_norm: float | None) -> Vector:
    """The update, or the multiple of it that has L2 norm `max_norm` if it is longer.

    What is not finite stays so, for the encoding to refuse. Left out: silos that run
    other code, whom nothing inside a silo can bound.

    >>> shortened(np.array([3.0, 4.0], np.float32), 1.0)
    array([0.6, 0.8], dtype=float32)
    """
    if max_norm is None or (norm := l2_norm(model_delta)) <= max_norm:
        return model_delta
    return (model_delta * (max_norm / norm)).astype(model_delta.dtype)


def encode_contribution(
    model_delta: Vector, weight: float, loss: float, fixed_point: FixedPoint
) -> tuple[NDArray[np.uint32], int]:
    """(ring words [d + 2], number of clipped coordinates).

    Raises:
        NotFiniteError: the update holds NaN or infinity; nothing must be sent.
    """
    vector = np.empty(len(model_delta) + EXTRA_COORDINATES)
    np.multiply(model_delta, weight, out=vector[: len(model_delta)])
    vector[-2:] = weight, weight * min(loss / LOSS_SCALE, 1.0)
    return fixed_point.encode(vector)


def decode_contributions(
    total: NDArray[np.int64], fixed_point: FixedPoint
) -> WeightedMean:
    """The weighted mean behind a secure sum [d + 2]; weight 0 gives no update."""
    sums = fixed_point.decode(total)
    weight = float(sums[-2])
    scale = 1.0 / weight if weight > 0 else 0.0
    loss = float(sums[-1]) * scale * LOSS_SCALE
    update = sums[:-EXTRA_COORDINATES]
    update *= scale
    return WeightedMean(update, weight, loss)
