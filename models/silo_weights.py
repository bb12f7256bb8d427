"""What a silo weighs in the mean, before it is divided by what all weigh together."""

from __future__ import annotations

import math

from data_contracts.settings.training import Weighting

ROOT_UNIT = 256
"""Roots are summed securely as whole numbers of 1/256."""


def silo_weight(num_examples: int, weighting: Weighting) -> int:
    """The weight of a silo with so many training examples, a whole number.

    Only the sum of these over all silos is ever told: either of the examples or of
    their roots, never both, from which two silos' sizes would follow.

    >>> silo_weight(10_000, "examples") // silo_weight(100, "examples")
    100
    >>> silo_weight(10_000, "root-examples") // silo_weight(100, "root-examples")
    10
    """
    if weighting == "root-examples":
        return max(1, round(ROOT_UNIT * math.sqrt(num_examples)))
    return num_examples
