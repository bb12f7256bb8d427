"""One HTTP server on a thread of its own, on a port that replicas share.

The kernel hands each new connection to one of the processes that listen (Linux,
SO_REUSEPORT), so nothing stands between a caller and a model.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from data_contracts.errors import ConfigError, ServingError

START_SECONDS = 30.0
DRAIN_SECONDS = 10.0
WAIT_SECONDS = 0.01


class Listener:
    """Listens from `begin` to `end`."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._socket = bound_socket(host, port, shared=True)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="critical",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=int(DRAIN_SECONDS),
            )
        )
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._socket]},
            name="silorec-http",
            daemon=True,
        )

    def begin(self) -> None:
        """Answer from now on.

        Raises:
            ServingError: it does not start.
        """
        self._thread.start()
        give_up = time.monotonic() + START_SECONDS
        while not self._server.started and self.alive and time.monotonic() < give_up:
            time.sleep(WAIT_SECONDS)
        if not self._server.started:
            raise ServingError("the HTTP server of a replica does not start")

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Take no more requests, and finish those that are being answered."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(DRAIN_SECONDS + 1)
        with contextlib.suppress(OSError):
            self._socket.close()


def bound_socket(host: str, port: int, *, shared: bool) -> socket.socket:
    """A TCP socket on that address.

    Args:
        host: of a network interface of this machine.
        port: its port.
        shared: whether other processes of ours may listen there as well.

    Raises:
        ConfigError: it is taken, or no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio would let small answers wait for 40 ms (Nagle).
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise ConfigError(
            f"nothing can listen on {host} port {port} ({error.strerror}): choose a "
            "free one with --port, and an address of this machine with --host"
        ) from None
    return made


def require_free(host: str, port: int) -> None:
    """Nobody may listen there yet: their callers and ours would be mixed up.

    Raises:
        ConfigError: somebody does, or it is no address of this machine.
    """
    bound_socket(host, port, shared=False).close()
