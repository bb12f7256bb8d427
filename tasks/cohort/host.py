"""The silo's side of a call: run a step in the workspace, let nothing unsafe out.

Leaves out where it runs: `actor.py` puts a host into a Ray actor.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from data_contracts.code_identity import REPOSITORY, code_hash
from data_contracts.errors import FailureReason, SilorecError
from data_contracts.settings.cohort import SiloConfig
from data_contracts.workspace import SiloFailure, SiloStep, SiloWorkspace

# A step that took longer may have left much freed memory behind.
LONG_STEP_SECONDS = 1.0

MAY_PASS = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EAGAIN,
        errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EBUSY, errno.EINTR,
    }
)  # fmt: skip
"""What the system answers when it is short of something, or a disk is away."""


class SiloHost:
    """One silo: its workspace and the steps that run there, one at a time."""

    def __init__(self, config: SiloConfig, run_id: str, folder: str) -> None:
        self._workspace = SiloWorkspace(config, run_id, Path(folder))
        self._workspace.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._one_step = threading.Lock()
        # The modules loaded by now stay: no need to look for garbage in them again.
        gc.freeze()

    def run(self, step: SiloStep[Any], *args: Any) -> Any:
        """What the step returns, or a `SiloFailure`; never raises.

        An exception's text may quote a row, so only the sentences of our own errors
        leave the silo; of any other, its type and the line of our code it came from.
        """
        with self._one_step:
            began = time.monotonic()
            self._workspace.progress.fraction = 0.0
            self._workspace.progress.note = step.__name__
            try:
                return step(self._workspace, *args)
            except Exception as error:
                return self._failure(error)
            finally:
                if time.monotonic() - began > LONG_STEP_SECONDS:
                    give_back_memory()

    def run_meanwhile(self, step: SiloStep[Any], *args: Any) -> Any:
        """Like `run`, beside whatever step is running."""
        try:
            return step(self._workspace, *args)
        except Exception as error:
            return self._failure(error)

    def progress(self) -> tuple[float, str]:
        """(fraction, note) of the running step; answers while a step runs."""
        return self._workspace.progress.fraction, self._workspace.progress.note

    def is_busy(self) -> bool:
        """Whether a step is running."""
        return self._one_step.locked()

    def code_hash(self) -> str:
        """Hash of the code this silo runs; also tells that the silo is up."""
        return code_hash()

    def _failure(self, error: Exception) -> SiloFailure:
        if isinstance(error, SilorecError):
            reason = getattr(error, "reason", FailureReason.CRASHED)
            return SiloFailure(self._workspace.silo, reason, error.message)
        sentence = f"{type(error).__name__} at {_own_line(error)}"
        return SiloFailure(self._workspace.silo, _reason(error), sentence)


def _reason(error: Exception) -> FailureReason:
    passing = isinstance(error, MemoryError | ConnectionError | TimeoutError)
    if passing or (isinstance(error, OSError) and error.errno in MAY_PASS):
        return FailureReason.TRANSIENT
    return FailureReason.CRASHED


def give_back_memory() -> None:
    """Return freed heap to the system: silos of one machine work one after another."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _own_line(error: Exception) -> str:
    """The deepest line of our own code in the traceback, as `file:line`."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(REPOSITORY) and ".venv" not in path.parts:
            return f"{path.relative_to(REPOSITORY)}:{frame.lineno}"
    return "an unknown line"
