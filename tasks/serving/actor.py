"""Ray Serve: replicas of the application that it starts, watches and starts again.

A replica answers HTTP itself, on a port that all replicas of this machine share. Ray
Serve's own proxy is left out: it costs a request two hops between processes, several
times what the model takes.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve

from data_contracts.errors import ServingError
from data_contracts.settings.serving import ServingConfig
from tasks.serving.listener import Listener, require_free

NAME = "silorec"
OBJECT_STORE_BYTES = 80 * 2**20
"""The least that Ray takes: no array goes through it here."""

DRAIN_SECONDS = 15.0
POLL_SECONDS = 0.2


class ServingReplica:
    """One process that answers; builds the application where it runs."""

    def __init__(self, build: Callable[[], FastAPI], config: ServingConfig) -> None:
        self._listener = Listener(build(), config.host, config.port)
        self._listener.begin()

    def check_health(self) -> None:
        """Asked by Ray Serve, which starts another replica if this raises.

        Raises:
            ServingError: it does not answer any more.
        """
        if not self._listener.alive:
            raise ServingError("a replica does not answer any more")

    def __del__(self) -> None:
        """Called by Ray Serve when it stops a replica: finish what was begun."""
        if hasattr(self, "_listener"):
            self._listener.end()


@contextmanager
def served_by_ray(config: ServingConfig, build: Callable[[], FastAPI]) -> Iterator[str]:
    """The application answers for the length of the block; yields its address.

    Args:
        config: where, and in how many processes.
        build: makes the application, in every replica.

    Raises:
        ConfigError: the port is taken, or the host is no address of this machine.
        ServingError: no replica starts.
    """
    require_free(config.host, config.port)
    started = not ray.is_initialized()
    if started:
        _start_ray(config)
    try:
        _start_replicas(config, build)
        yield f"http://{config.host}:{config.port}"
    finally:
        with suppress(Exception):  # Whatever it says, nothing answers any more.
            serve.delete(NAME)
        if started:
            ray.shutdown()


def _start_ray(config: ServingConfig) -> None:
    names = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(name) for name in names]
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.ray_address is None:
        options |= {
            # Not left out: that would join whatever cluster runs on this machine.
            "address": "local",
            "num_cpus": max(os.cpu_count() or 1, config.replicas * config.threads),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    else:
        options["address"] = config.ray_address
    ray.init(**options)
    # Ray's own answer to SIGTERM ends the process where it stands.
    for name, handler in zip(names, before, strict=True):
        signal.signal(name, handler)


def _start_replicas(config: ServingConfig, build: Callable[[], FastAPI]) -> None:
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": str(config.threads),
    }
    deployment: Any = serve.deployment(
        name=NAME,
        num_replicas=config.replicas,
        ray_actor_options={
            "num_cpus": config.threads,
            "runtime_env": {"env_vars": environment},
        },
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
    )(ServingReplica)
    serve.start(proxy_location="Disabled")
    try:
        serve.run(
            deployment.bind(build, config),
            name=NAME,
            route_prefix=None,
            logging_config={"enable_access_log": False, "log_level": "ERROR"},
        )
    except RuntimeError:
        # Its text is a traceback from another process, and may quote a row.
        raise ServingError(
            "no replica starts, though model and tables could be read here: is there "
            "memory for another copy? Ray's logs below its folder of sessions say more"
        ) from None


@contextmanager
def told_to_end() -> Iterator[Callable[[], None]]:
    """Ctrl-C and SIGTERM do not break into the block; yields what waits for one.

    One that came before is not waited for, and later ones do not disturb the end.
    """
    told: list[int] = []  # No event: a signal may come while another is handled.
    names = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(name, lambda number, _: told.append(number)) for name in names
    ]

    def wait() -> None:
        while not told:
            time.sleep(POLL_SECONDS)

    try:
        yield wait
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(name, handler)
