"""Clocks: the moment, and the wall time of the stages of a round."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from data_contracts.progress import announce


def now_utc() -> datetime:
    """The present moment, aware of its time zone."""
    return datetime.now(UTC)


class Stopwatch:
    """Laps since it was made, each announced; `round` is all of them together."""

    def __init__(self) -> None:
        self._began = self._lap = time.monotonic()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """The time since the last lap belongs to `stage`."""
        now = time.monotonic()
        seconds, self._lap = now - self._lap, now
        self._laps[stage] = self._laps.get(stage, 0.0) + seconds
        announce().lap(stage, seconds)

    def seconds(self) -> dict[str, float]:
        """Seconds per stage, and `round` for the whole until now."""
        return {**self._laps, "round": time.monotonic() - self._began}
