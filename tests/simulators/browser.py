"""A headless Chromium, where one is installed: what a page looks like and says."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120
PATIENCE_MS = 25_000
"""Of virtual time, in which a page may load what it shows."""


@dataclass(frozen=True)
class Browser:
    """One installed browser.

    Attributes:
        command: its path.
        home: profile folder.
    """

    command: str
    home: Path

    def picture(self, url: str, path: Path, *, height: int = 1400) -> bytes:
        """A screenshot as PNG, also written to `path`."""
        self._run(
            f"--screenshot={path}", f"--window-size=1400,{height}", "--hide-scrollbars",
            url,
        )  # fmt: skip
        return path.read_bytes()

    def text(self, url: str) -> str:
        """The document as it stands when its scripts have run."""
        return self._run("--dump-dom", url)

    def _run(self, *arguments: str) -> str:
        return subprocess.run(
            [
                self.command, "--headless=new", "--no-sandbox", "--disable-gpu",
                "--disable-dev-shm-usage", f"--user-data-dir={self.home}",
                f"--virtual-time-budget={PATIENCE_MS}", *arguments,
            ],
            capture_output=True, text=True, timeout=SECONDS, check=True,
        ).stdout  # fmt: skip


def installed_browser(home: Path) -> Browser:
    """The browser of this machine; without one the test is skipped, and says why."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser is installed ({', '.join(NAMES)})")
    return Browser(found, home)
