"""A flow that is followed from outside: by spans, and by lines of JSON in a worker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from data_contracts.progress import Silence, announce, listening
from tasks.observability.tracing import start_tracing, traced
from tasks.reporting.json_progress import JsonProgress, log_format


@contextmanager
def observed(name: str) -> Iterator[None]:
    """Whoever listens to the flow goes on to; in a worker, where nobody does, a log.

    Args:
        name: of the flow's span.
    """
    start_tracing()
    listener = announce()
    if isinstance(listener, Silence) and log_format() == "json":
        listener = JsonProgress(sys.stderr)
    with traced(name, listener) as follower, listening(follower):
        yield
