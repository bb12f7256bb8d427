"""Parts of a sum that are opened for themselves, to be compared with each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SumPart:
    """What the coordinator saw of some silos: their sum, or one silo's own input.

    Attributes:
        silos: whose inputs are in it, in cohort order.
        total: signed integers of the ring [d], their exact sum.
    """

    silos: tuple[str, ...]
    total: NDArray[np.signedinteger]
