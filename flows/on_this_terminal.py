"""A flow started from a terminal: quiet frameworks, a server, progress on stderr."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from data_contracts.progress import listening

QUIET = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
}


@contextmanager
def ready_for_flows(*, verbose: bool) -> Iterator[None]:
    """Flows that are called inside the block run here, and say how far they are.

    Args:
        verbose: show the log of Prefect as well.
    """
    if not verbose:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
    # Imported late: Prefect and its server take seconds, and `--help` needs none.
    from tasks.reporting.terminal import terminal_progress

    with terminal_progress() as progress, listening(progress):
        progress.stage("Starting Prefect and Ray")
        from flows.embedded_server import start_embedded_server

        start_embedded_server()
        yield
