"""What events cost together, and what still fits.

Epsilon is an upper bound, for one added or removed user, over everything that was done
to the user's data. Parameters of later events must not depend on what earlier ones
released beyond the events themselves (a fixed plan); adaptive plans need other maths.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from data_contracts.errors import PrivacyBudgetError
from data_contracts.privacy_events import GaussianEvent
from models.privacy.loss_distribution import (
    LossDistribution,
    both_directions,
    composed,
)

LEAST_NOISE, MOST_NOISE = 0.3, 1000.0
PRECISION = 1e-3
MOST_STEPS = 10**7

_step = lru_cache(maxsize=1024)(both_directions)


class Spent:
    """The privacy loss of events so far, ready to be added to.

    Args:
        events: in any order; equal ones are merged.
    """

    def __init__(self, events: Sequence[GaussianEvent] = ()) -> None:
        self._directions = _together(events)

    def epsilon(self, delta: float, further: Sequence[GaussianEvent] = ()) -> float:
        """Epsilon of these events and of `further` ones; 0 if nothing was done."""
        more = _together(further)
        both = [
            [part for part in (self._directions[side], more[side]) if part]
            for side in (0, 1)
        ]
        totals = [composed([(p, 1) for p in parts]) for parts in both if parts]
        return max((total.epsilon(delta) for total in totals), default=0.0)


def epsilon(events: Sequence[GaussianEvent], delta: float) -> float:
    """Epsilon of all events together; 0 if nothing was done.

    >>> event = GaussianEvent(3.43, 0.04096, 52 * 300)
    >>> round(epsilon([event], 1e-6), 1)
    8.0
    """
    return Spent(events).epsilon(delta)


def noise_multiplier_for(
    target: float,
    delta: float,
    *,
    sampling_probability: float,
    steps: int,
    spent: Spent | None = None,
    beside: Sequence[GaussianEvent] = (),
) -> float:
    """The smallest noise multiplier with which the steps fit, within 0.1 %.

    Args:
        target: epsilon that must not be exceeded in all.
        delta: of the guarantee.
        sampling_probability: of each step.
        steps: how many.
        spent: what has been done before.
        beside: what else is going to be done.

    Raises:
        PrivacyBudgetError: not even noise of 1000 times the clip norm is enough.
    """
    before = spent or Spent()

    def fits(noise: float) -> bool:
        event = GaussianEvent(noise, sampling_probability, steps)
        return before.epsilon(delta, [*beside, event]) <= target

    if not fits(MOST_NOISE):
        raise PrivacyBudgetError(
            f"{steps} steps with sampling probability {sampling_probability:g} do not "
            f"fit into epsilon {target:g} at delta {delta:g} with any noise: the "
            "budget is spent; wait for the next period"
        )
    return _smallest(fits)


def steps_that_fit(
    target: float,
    delta: float,
    *,
    noise_multiplier: float,
    sampling_probability: float,
    spent: Spent | None = None,
    beside: Sequence[GaussianEvent] = (),
) -> int:
    """The largest number of steps that fits; 0 if none does."""
    before = spent or Spent()

    def fits(steps: int) -> bool:
        event = GaussianEvent(noise_multiplier, sampling_probability, steps)
        return before.epsilon(delta, [*beside, event]) <= target

    if not fits(0):
        return 0
    most = 1
    while most < MOST_STEPS and fits(most):
        most *= 2
    low, high = most // 2, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _together(
    events: Sequence[GaussianEvent],
) -> tuple[LossDistribution | None, LossDistribution | None]:
    """The loss of all events if a user is removed, and if one is added."""
    counts: Counter[tuple[float, float]] = Counter()
    for event in events:
        counts[event.noise_multiplier, event.sampling_probability] += event.steps
    steps = [(_step(*kind), times) for kind, times in sorted(counts.items()) if times]
    if not steps:
        return None, None
    removed, added = (
        composed([(step[side], times) for step, times in steps]) for side in (0, 1)
    )
    return removed, added


def _smallest(fits: Callable[[float], bool]) -> float:
    """The smallest noise that fits, from above; 0.3 if even less would."""
    low, high = 1.0, 2.0
    while not fits(high):
        low, high = high, 2 * high
    while fits(low):
        if low <= LEAST_NOISE:
            return LEAST_NOISE
        low, high = max(LEAST_NOISE, low / 2), low
    while high > (1 + PRECISION) * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
