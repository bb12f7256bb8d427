"""What was done to users' data, as events that an accountant can cost."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GaussianEvent:
    """Steps of the Poisson-subsampled Gaussian mechanism.

    Neighbouring data sets differ in one added or removed user; the sensitivity is 1
    after division by the clip norm. A one-shot release has a sampling probability
    of 1 and one step.

    Attributes:
        noise_multiplier: standard deviation of the noise over the clip norm.
        sampling_probability: with which a user takes part in a step.
        steps: how many.
    """

    noise_multiplier: float
    sampling_probability: float
    steps: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise ValueError(
                f"noise_multiplier {self.noise_multiplier} must be finite and above 0"
            )
        if not 0 < self.sampling_probability <= 1:
            raise ValueError(
                f"sampling_probability {self.sampling_probability} must be above 0 "
                "and at most 1"
            )
        if self.steps < 0:
            raise ValueError(f"steps {self.steps} must not be negative")
