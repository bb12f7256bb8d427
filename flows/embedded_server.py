"""Running with no Prefect server: nothing the embedded one was told may get lost.

Without an API address, Prefect starts a server beside the process and hands it task
runs through a queue. A process that ends at once takes the queue with it: measured,
half of a fast flow's task runs are missing afterwards. So a hook waits until the
server has written down what happened, and Ctrl-C ends the run before the server.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.events.worker import EventsWorker
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

# Automations need a server that stays, and the feed of events a page that shows it;
# runs, task runs and artifacts are recorded without either.
ONLY_RECORDING = {
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
}
POLL_SECONDS = 0.5
# The server writes task runs every second at the latest; a longer silence, with
# every known task run ended, means that there is nothing left to write.
QUIET_SECONDS = 2.5
GIVE_UP_SECONDS = 60.0
PAGE = 200


def start_embedded_server() -> None:
    """Start the embedded server, if there is to be one, out of reach of Ctrl-C.

    A terminal interrupts every process in the foreground. A run whose server is gone
    cannot tell how it ended: it would try for minutes.
    """
    settings = get_current_settings()
    if settings.api.url is not None or not settings.server.ephemeral.enabled:
        return
    for name, value in ONLY_RECORDING.items():
        os.environ.setdefault(name, value)
    # A process starts with the blocked signals of the thread that starts it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        SubprocessASGIServer().start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def keep_every_task_run(flow: Any, flow_run: Any, state: Any) -> None:
    """Flow hook: with an embedded server, wait until all task runs are recorded."""
    if get_current_settings().api.url is not None:
        return
    EventsWorker.drain_all()
    give_up = time.monotonic() + GIVE_UP_SECONDS
    quiet_since, last = time.monotonic(), (-1, -1)
    while time.monotonic() < give_up:
        seen = recorded_task_runs(flow_run.id)
        if seen != last:
            quiet_since, last = time.monotonic(), seen
        known, ended = seen
        if known == ended and time.monotonic() - quiet_since > QUIET_SECONDS:
            return
        time.sleep(POLL_SECONDS)
    logging.getLogger(__name__).warning(
        "the embedded Prefect server recorded only %d of %d task runs in %g s; the "
        "lineage tables are complete all the same",
        last[1],
        last[0],
        GIVE_UP_SECONDS,
    )


def recorded_task_runs(flow_run_id: Any) -> tuple[int, int]:
    """(task runs of this flow run that the server knows, those of them that ended)."""
    this_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    known = ended = 0
    with get_client(sync_client=True) as client:
        while page := client.read_task_runs(
            flow_run_filter=this_run, limit=PAGE, offset=known
        ):
            known += len(page)
            ended += sum(run.state is not None and run.state.is_final() for run in page)
    return known, ended
