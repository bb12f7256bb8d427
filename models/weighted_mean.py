"""The weighted mean of silo updates, as what each silo puts into a secure sum.

The vector, in order: [w * model_delta (d) | w | w * loss / LOSS_SCALE], in fixed
point. w is the silo's share of all training examples (or 1 / number of silos), so that
sums stay within the range of one silo's and weights stay hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.fixed_point import FixedPoint
from models.parameters import Vector

LOSS_SCALE = 64.0
EXTRA_COORDINATES = 2


@dataclass(frozen=True)
class WeightedMean:
    """A decoded sum of contributions.

    Attributes:
        update: float64 [d], the weighted mean of the model deltas.
        weight: summed weight of the silos that are in it.
        loss: weighted mean training loss, in nats.
    """

    update: NDArray[np.float64]
    weight: float
    loss: float

    @property
    def norm(self) -> float:
        """L2 norm of the mean update."""
        # No BLAS: its threads spin on for longer than the whole sum takes.
        return float(np.sqrt(np.einsum("i,i->", self.update, self.update)))


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
