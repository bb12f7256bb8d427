"""`prefect server start` on a free port, with a home of its own."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.simulators.command_line import sandbox

SERVER_SECONDS = 180.0


@dataclass(frozen=True)
class PrefectServer:
    """A running server of its own.

    Attributes:
        api: its address.
        process: its number.
        auth: `user:password` that it asks for; empty: nothing.
    """

    api: str
    process: int
    auth: str = ""

    def ask(self, path: str, **filters: Any) -> list[dict[str, Any]]:
        """POST a filter."""
        request = urllib.request.Request(
            f"{self.api}/{path}",
            json.dumps(filters).encode(),
            {"Content-Type": "application/json", **self._authorisation()},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            told: list[dict[str, Any]] = json.load(reply)
        return told

    def _authorisation(self) -> dict[str, str]:
        told = base64.b64encode(self.auth.encode()).decode()
        return {"Authorization": f"Basic {told}"} if self.auth else {}


@contextmanager
def started_server(auth: str = "", **settings: str) -> Iterator[PrefectServer]:
    """The server, for the length of the block.

    Args:
        auth: `user:password` that it is to ask for.
        settings: further variables of its environment.
    """
    with sandbox() as machine, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
        probe.close()
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", port]
        environment = machine.environment() | {
            "PREFECT_HOME": str(machine.home),
            "DO_NOT_TRACK": "1",
            # The pages ask this address, whatever port the server listens on.
            "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            **({"PREFECT_SERVER_API_AUTH_STRING": auth} if auth else {}),
            **settings,
        }
        process = subprocess.Popen(
            command,
            cwd=machine.work,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        api = f"http://127.0.0.1:{port}/api"
        try:
            wait_for(f"{api}/health", process)
            yield PrefectServer(api, process.pid, auth)
        finally:
            process.terminate()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the Prefect server did not answer in {SERVER_SECONDS:g} s")
