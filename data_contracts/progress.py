"""How a run tells a person what it is doing, without knowing how that is shown.

The stages call `announce`; the terminal, a log or a test listens. Exactly one
listener hears a run; without one, nothing is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol


class ProgressListener(Protocol):
    """Hears about the run; every call may come from another thread."""

    def run(self, run_id: str) -> None:
        """From now on everything is about this run."""

    def stage(self, title: str) -> None:
        """A stage of the run begins, for example `Validating 4 silos`."""

    def lap(self, stage: str, seconds: float) -> None:
        """A stage of a round is over, for example `train`."""

    def round(self, number: int, of: int, headline: str) -> None:
        """Round `number` (from 1) is over; `headline` holds its main figures."""

    def silos(self, progress: Mapping[str, tuple[float, str]]) -> None:
        """Silo -> (fraction done, note) of the step that is being waited for."""

    def note(self, sentence: str) -> None:
        """Something a person should read, such as a quarantined silo."""


class Silence:
    """Hears everything, says nothing."""

    def run(self, run_id: str) -> None:
        """Ignored."""

    def lap(self, stage: str, seconds: float) -> None:
        """Ignored."""

    def stage(self, title: str) -> None:
        """Ignored."""

    def round(self, number: int, of: int, headline: str) -> None:
        """Ignored."""

    def silos(self, progress: Mapping[str, tuple[float, str]]) -> None:
        """Ignored."""

    def note(self, sentence: str) -> None:
        """Ignored."""


_current: ProgressListener = Silence()


def announce() -> ProgressListener:
    """The listener of the run in this process."""
    return _current


@contextmanager
def listening(listener: ProgressListener) -> Iterator[None]:
    """Let `listener` hear everything until the block ends."""
    global _current
    previous, _current = _current, listener
    try:
        yield
    finally:
        _current = previous
