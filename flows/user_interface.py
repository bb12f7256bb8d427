"""`silorec ui`: the Prefect UI with all runs, and forms to start one.

Starts a Prefect server on the database of the embedded ones, and serves every flow to
it that a person starts: deployments whose form is their configuration. What is started
there executes on this machine, in the folder where `silorec ui` was started.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from data_contracts.errors import UsageError
from flows.deployments import EXAMPLE, TABLE

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


HOST = "127.0.0.1"
START_SECONDS = 180.0
POLL_SECONDS = 0.5


def serve_user_interface(port: int) -> None:
    """Serve until interrupted.

    Raises:
        UsageError: the server did not start, for example because the port is taken.
    """
    api = f"http://{HOST}:{port}/api"
    server = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed arguments
        [
            sys.executable, "-m", "prefect", "server", "start",
            "--host", HOST, "--port", str(port),
        ],
        stdout=subprocess.DEVNULL,
        # The pages ask this address, whatever port the server listens on.
        env=os.environ | {"PREFECT_SERVER_UI_API_URL": api},
    )  # fmt: skip
    try:
        _await_health(server, api)
        print(f"Prefect UI with your runs: http://{HOST}:{port}", flush=True)
        print("Start a run there: Deployments > train > Run. Ctrl-C ends it all.")
        os.environ["PREFECT_API_URL"] = api
        # Imported now: Prefect reads the address of its server when it is loaded.
        from prefect import serve

        serve(*_deployments(), print_starting_message=False)
    finally:
        server.terminate()
        server.wait()


def _deployments() -> list[RunnerDeployment]:
    """Every flow that a person starts, with its form filled in as far as it can be."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    return [
        RunnerDeployment.from_flow(
            entry.flow,
            name=entry.name,
            description=entry.description,
            parameters=entry.parameters(EXAMPLE),
            # By module: a path would load the flow outside its package.
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for entry in TABLE
    ]


def _await_health(server: subprocess.Popen[bytes], api: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=5):  # noqa: S310 - loopback, fixed scheme
                return
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_SECONDS)
    raise UsageError(
        f"the Prefect server did not start at {api}; is the port taken? Give another "
        "with --port"
    )
