"""One process at a time works on a run; a killed one leaves no lock behind."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_contracts.errors import ResumeError

LOCK = "lock"


@contextmanager
def sole_worker(folder: Path) -> Iterator[None]:
    """Hold the run's lock; the operating system takes it back however we end.

    Raises:
        ResumeError: another process works on the run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ResumeError(
                f"another process is working on run {folder.name}; wait for it, or "
                "stop it first"
            ) from None
        yield


def is_worked_on(folder: Path) -> bool:
    """Whether some living process holds the run's lock."""
    try:
        with sole_worker(folder):
            return False
    except ResumeError:
        return True
