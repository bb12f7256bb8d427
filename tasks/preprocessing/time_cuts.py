"""One wall-clock cut for all silos, found from a secure histogram of days.

No silo shows when its users were active: only the sum of all daily counts is seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.preprocessing.sequences import TimeCuts

SECONDS_PER_DAY = 86_400
DAYS = 366 * 140  # 1970 to 2110


def daily_counts(timestamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Interactions per day since 1970-01-01 UTC, int64 [DAYS]."""
    days = np.clip(timestamps // SECONDS_PER_DAY, 0, DAYS - 1)
    return np.bincount(days, minlength=DAYS).astype(np.int64)


def cuts_at(
    counts: NDArray[np.int64], validation_quantile: float, test_quantile: float
) -> TimeCuts:
    """The first midnights by which these shares of all interactions have happened.

    >>> counts = np.zeros(DAYS, np.int64); counts[10:20] = 1
    >>> cuts = cuts_at(counts, 0.8, 0.9)
    >>> cuts.validation // SECONDS_PER_DAY, cuts.test // SECONDS_PER_DAY
    (18, 19)
    """
    shares = np.cumsum(counts) / max(int(counts.sum()), 1)
    # 1e-9: a share that is the quantile but for rounding counts as reached.
    first, second = (
        int(np.argmax(shares >= quantile - 1e-9) + 1)
        for quantile in (validation_quantile, test_quantile)
    )
    return TimeCuts(first * SECONDS_PER_DAY, second * SECONDS_PER_DAY)
