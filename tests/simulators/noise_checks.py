"""Whether numbers are noise of a given scale: it accepts the right one only.

Randomness comes from the operating system, so no seed can be chosen until a check
passes: each check is wrong about right noise once in a million times.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FALSE_ALARM = 1e-6
ENOUGH = 60_000  # numbers; a scale that is 10 % off is then told by both checks


def variance_fits(numbers: NDArray[np.number], scale: float) -> bool:
    """Two-sided chi-square test of the variance around 0."""
    statistic = float(np.sum((numbers / scale) ** 2.0))
    tail = min(
        stats.chi2.cdf(statistic, numbers.size), stats.chi2.sf(statistic, numbers.size)
    )
    return bool(2 * tail > FALSE_ALARM)


def shape_fits(numbers: NDArray[np.number], scale: float) -> bool:
    """Kolmogorov-Smirnov test against the normal distribution of this scale."""
    return bool(stats.kstest(numbers / scale, "norm").pvalue > FALSE_ALARM)


def is_noise_of(numbers: NDArray[np.number], scale: float) -> bool:
    """Both checks."""
    return variance_fits(numbers, scale) and shape_fits(numbers, scale)
