"""What events cost: an upper bound of epsilon."""

from __future__ import annotations

from collections.abc import Sequence

from opacus.accountants import PRVAccountant

from data_contracts.privacy_events import GaussianEvent


def epsilon(events: Sequence[GaussianEvent], delta: float) -> float:
    """Epsilon of all events together, for one added or removed user.

    Numerical composition of privacy loss variables (Gopi et al. 2021, arXiv
    2106.02848), an upper bound within 0.02.
    """
    accountant = PRVAccountant()
    accountant.history = [
        (event.noise_multiplier, event.sampling_probability, event.steps)
        for event in events
        if event.steps
    ]
    if not accountant.history:
        return 0.0
    return max(0.0, float(accountant.get_epsilon(delta)))
