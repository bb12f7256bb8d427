"""A newcomer's machine: an empty home, an empty folder, and the `silorec` command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

RUN_SECONDS = 300.0
GONE_SECONDS = 30.0
MARK = "SILOREC_TEST_SANDBOX"


@dataclass(frozen=True)
class Sandbox:
    """Folders of its own for everything that a command may write.

    Attributes:
        folder: holds the others; short, because Ray's sockets lie below it.
        mark: environment variable by which all descendants are known.
    """

    folder: Path
    extra: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.folder / "home"

    @property
    def work(self) -> Path:
        """Where commands are typed."""
        return self.folder / "work"

    @property
    def database(self) -> Path:
        """The database of the embedded Prefect server."""
        return self.home / ".prefect" / "prefect.db"

    def environment(self) -> dict[str, str]:
        """Nothing of the tester's own settings."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "HOME": str(self.home),
            "TMPDIR": str(self.folder / "tmp"),
            "RAY_TMPDIR": str(self.folder),
            MARK: self.mark,
            **self.extra,
        }

    def silorec(
        self, *arguments: str | Path, timeout: float = RUN_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed command to its end."""
        return self.run([_installed("silorec"), *arguments], timeout=timeout)

    def run(
        self, command: Sequence[str | Path], *, timeout: float = RUN_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run any command to its end."""
        return subprocess.run(
            command,
            cwd=self.work,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def start(self, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
        """Start the command as the leader of a process group, as a terminal does."""
        with (
            _heeding_interrupts(),
            subprocess.Popen(
                [_installed("silorec"), *arguments],
                cwd=self.work,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def survivors(self) -> list[str]:
        """Command lines of descendants that outlive a command by `GONE_SECONDS`."""
        give_up = time.monotonic() + GONE_SECONDS
        while (alive := self._descendants()) and time.monotonic() < give_up:
            time.sleep(0.2)
        return alive

    def _descendants(self) -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text("utf-8", "replace"))
            except OSError:
                continue  # It has just ended, or is somebody else's.
        return [line for line in found if line]  # A zombie has no command line.


@contextmanager
def sandbox(**extra: str) -> Iterator[Sandbox]:
    """A fresh sandbox; its folder is deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="silorec-"))
    made = Sandbox(folder, extra)
    for place in (made.home, made.work, folder / "tmp"):
        place.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: SIGINT to everybody in the foreground."""
    os.killpg(process.pid, signal.SIGINT)


@contextmanager
def _heeding_interrupts() -> Iterator[None]:
    """A background job ignores SIGINT, and its children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _installed(command: str) -> Path:
    return Path(sys.executable).with_name(command)
