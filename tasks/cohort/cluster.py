"""Ray: the cluster that a run connects to, or starts for itself."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from data_contracts.settings.cohort import ComputeConfig, SiloConfig

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "DO_NOT_TRACK": "1",
}


def connect(address: str | None, silos: tuple[SiloConfig, ...]) -> bool:
    """Connect this process; whether that started a cluster of its own."""
    with _own_signals():
        return _connect(address, silos)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our answer to SIGTERM: Ray's own aborts the process where it stands."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread() and before is not None:
        signal.signal(signal.SIGTERM, before)


def _connect(address: str | None, silos: tuple[SiloConfig, ...]) -> bool:
    os.environ.update(QUIET)
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        return False
    # More logical than real CPUs on a small machine, or four silos of a demo would
    # wait on two cores for each other to end, for ever.
    wanted = sum((silo.compute or ComputeConfig()).num_cpus for silo in silos)
    ray.init(
        # Not None: that would join whatever cluster happens to run on this machine.
        address="local",
        num_cpus=max(os.cpu_count() or 1, int(wanted + 0.999)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    return True
