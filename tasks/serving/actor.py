"""Ray Serve: replicas of the application behind one port, until somebody ends it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import ray
from fastapi import FastAPI
from ray import serve

from data_contracts.errors import UsageError
from data_contracts.settings.serving import ServingConfig

NAME = "silorec"
AT_ONCE = 64
"""Requests that a replica works on at a time; more wait."""


class ServingReplica:
    """One process that answers; builds the application where it runs."""

    def __init__(self, build: Callable[[], FastAPI]) -> None:
        self._build = build

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Ray Serve, once, after the constructor."""
        return self._build()


@contextmanager
def served_by_ray(config: ServingConfig, build: Callable[[], FastAPI]) -> Iterator[str]:
    """The application answers for the length of the block; yields its address.

    Args:
        config: where, and in how many processes.
        build: makes the application, in every replica.

    Raises:
        UsageError: the port is taken, or the application cannot be built.
    """
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": str(config.threads),
    }
    os.environ.update(environment)
    started = not ray.is_initialized()
    if started:
        # Not None: that would join whatever cluster happens to run on this machine.
        ray.init(
            address=config.ray_address or "local",
            include_dashboard=False if config.ray_address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        _run(config, build, environment)
        yield f"http://{config.host}:{config.port}"
    finally:
        cast(Any, serve).shutdown()
        if started:
            ray.shutdown()


def _run(
    config: ServingConfig, build: Callable[[], FastAPI], environment: dict[str, str]
) -> None:
    replica: Any = serve.deployment(
        serve.ingress()(ServingReplica),
        name=NAME,
        num_replicas=config.replicas,
        max_ongoing_requests=AT_ONCE,
        ray_actor_options={
            "num_cpus": 0,  # Answers take milliseconds: the system shares the cores.
            "runtime_env": {"env_vars": environment},
        },
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    try:
        serve.start(
            http_options={"host": config.host, "port": config.port},
            logging_config={"enable_access_log": False, "log_level": "WARNING"},
        )
        serve.run(replica.bind(build), name=NAME, route_prefix="/")
    except RuntimeError as error:
        raise UsageError(
            f"serving did not start at {config.host}:{config.port} "
            f"({type(error).__name__}); is the port taken? Give another with --port"
        ) from None


def until_told_to_end() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    while not ended.wait(1.0):
        pass
