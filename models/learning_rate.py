"""The local learning rate of each round: warm-up, then cosine or constant."""

from __future__ import annotations

from math import cos, pi

from data_contracts.settings.training import ScheduleConfig


def round_learning_rate(
    peak: float, schedule: ScheduleConfig, round_number: int, cuts: int
) -> float:
    """Learning rate of round `round_number` (from 1) after `cuts` rejected rounds.

    A round stands for its middle, so that no round trains at rate zero.

    >>> s = ScheduleConfig(rounds=4, warmup_rounds=1, learning_rate_cut=0.5)
    >>> [round(round_learning_rate(1.0, s, r, 0), 3) for r in (1, 2, 3, 4)]
    [0.5, 0.933, 0.5, 0.067]
    >>> round(round_learning_rate(1.0, s, 3, cuts=1), 3)
    0.25
    """
    middle = round_number - 0.5
    if round_number <= schedule.warmup_rounds:
        course = middle / schedule.warmup_rounds
    elif schedule.decay == "cosine":
        remaining = max(schedule.rounds - schedule.warmup_rounds, 1)
        course = (1 + cos(pi * (middle - schedule.warmup_rounds) / remaining)) / 2
    else:
        course = 1.0
    return float(peak * course * schedule.learning_rate_cut**cuts)
