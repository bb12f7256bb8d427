"""Progress as one JSON object a line, for logs that machines collect.

`SILOREC_LOG_FORMAT=json` asks for it. What is told is what a person would read in the
terminal: stages, rounds, notes; names of silos, no data of theirs.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from data_contracts.errors import UsageError
from data_contracts.stopwatch import now_utc

VARIABLE = "SILOREC_LOG_FORMAT"
FORMATS = ("text", "json")
_PACE_SECONDS = 30.0


def log_format() -> str:
    """`json`, or `text`, the default.

    Raises:
        UsageError: the environment says something else.
    """
    told = os.environ.get(VARIABLE, "text")
    if told not in FORMATS:
        raise UsageError(f"{VARIABLE} is {told!r}; it must be {' or '.join(FORMATS)}")
    return told


class JsonProgress:
    """Implements `ProgressListener` for collectors of logs.

    Every object has `time` (UTC), `level` (`info` or `warning`), `event` (the name of
    the method), `run` (its id, once there is one) and `message`.

    Args:
        stream: where the lines go.
        clock: seconds; how far silos are is told at most every 30 of them.
    """

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._told = clock()
        self._run = ""
        self._lock = threading.Lock()

    def run(self, run_id: str) -> None:
        """Name the run, here and in every later line."""
        self._run = run_id
        self._line("run", f"run {run_id}")

    def stage(self, title: str) -> None:
        """Write the title."""
        self._told = self._clock()
        self._line("stage", title)

    def lap(self, stage: str, seconds: float) -> None:
        """Write how long it took."""
        self._line("lap", f"{stage} is over", stage=stage, seconds=round(seconds, 3))

    def silos(self, progress: Mapping[str, tuple[float, str]]) -> None:
        """Write how far everyone is, at the pace of a log."""
        now = self._clock()
        if now - self._told < _PACE_SECONDS:
            return
        self._told = now
        shares = {silo: round(share, 3) for silo, (share, _) in progress.items()}
        self._line("silos", f"{len(shares)} silos at work", silos=shares)

    def round(self, number: int, of: int, headline: str) -> None:
        """Write the round's figures."""
        self._line("round", headline, round=number, of=of)

    def note(self, sentence: str) -> None:
        """Write the sentence, as a warning."""
        self._line("note", sentence, level="warning")

    def _line(
        self, event: str, message: str, *, level: str = "info", **facts: Any
    ) -> None:
        told = {
            "time": now_utc().isoformat(timespec="milliseconds"),
            "level": level,
            "event": event,
            "run": self._run,
            "message": message,
            **facts,
        }
        with self._lock:
            print(json.dumps(told, ensure_ascii=False), file=self._stream, flush=True)
