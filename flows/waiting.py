"""A run below its quorum waits for silos to come back, and goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from data_contracts.errors import QuorumLostError
from data_contracts.progress import announce
from tasks.lineage.run_lifecycle import say_how_to_go_on

T = TypeVar("T")

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 60.0
"""Between two attempts; each wait is twice as long as the one before."""


def waiting_for_silos(
    stretch: Callable[[str | None], T],
    resume: str | None,
    minutes: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Do what is left of a run, again and again, until its silos are all there.

    Args:
        stretch: does the run, or what is left of the one with this id.
        resume: the run to continue, if any.
        minutes: to wait in all; with 0 the first lost quorum is the last.
        sleep: for so many seconds.

    Raises:
        QuorumLostError: the time is over, or no silo is away whose return would help.
            The run keeps its state.
    """
    left, pause = 60.0 * minutes, FIRST_WAIT_SECONDS
    while True:
        try:
            return stretch(resume)
        except QuorumLostError as lost:
            if not lost.run_id:
                raise
            if not lost.waits_for or left <= 0:
                say_how_to_go_on(lost.run_id)
                raise
            resume = lost.run_id
            announce().note(
                f"Run {lost.run_id} is paused: it waits for silo "
                f"{', '.join(lost.waits_for)} and tries again in {pause:g} s, for "
                f"{left / 60:.3g} minutes more; its state is kept."
            )
            sleep(min(pause, left))
            left -= pause
            pause = min(2 * pause, LONGEST_WAIT_SECONDS)
