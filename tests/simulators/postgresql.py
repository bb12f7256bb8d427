"""A PostgreSQL cluster of one's own, from the binaries that Debian installs."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BINARIES = Path("/usr/lib/postgresql")
USER = "prefect"
START_SECONDS = 60.0


@dataclass(frozen=True)
class PostgreSQL:
    """A running cluster.

    Attributes:
        port: on loopback.
        password: of the only user.
        binaries: folder of `psql` and the others.
    """

    port: int
    password: str
    binaries: Path

    @property
    def url(self) -> str:
        """As a Prefect server takes it."""
        place = f"127.0.0.1:{self.port}/postgres"
        return f"postgresql+asyncpg://{USER}:{self.password}@{place}"

    def ask(self, query: str) -> str:
        """What the query answers."""
        return subprocess.run(
            [
                self.binaries / "psql", "--no-align", "--tuples-only",
                "--host=127.0.0.1", f"--port={self.port}", f"--username={USER}",
                "--command", query, "postgres",
            ],
            env={"PGPASSWORD": self.password, "HOME": "/"},
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout.strip()  # fmt: skip


@contextmanager
def started_postgresql() -> Iterator[PostgreSQL]:
    """The cluster, for the length of the block; skips where there is no PostgreSQL."""
    found = sorted(BINARIES.glob("*/bin/initdb"), key=lambda path: path.parts[-3])
    if not found:
        pytest.skip(f"no PostgreSQL is installed below {BINARIES}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cluster = PostgreSQL(port, secrets.token_hex(8), found[-1].parent)
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # Sockets: a short path.
    try:
        with _running(cluster, folder):
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(cluster: PostgreSQL, folder: Path) -> Iterator[None]:
    someone = _unprivileged()
    data, password = folder / "data", folder / "password"
    password.write_text(cluster.password, "utf-8")
    if someone:
        for path in (folder, password):
            shutil.chown(path, someone["user"], someone["group"])
    subprocess.run(
        [
            cluster.binaries / "initdb", f"--pgdata={data}", f"--username={USER}",
            f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8",
            "--locale=C", "--no-sync",
        ],
        check=True, cwd=folder, stdout=subprocess.DEVNULL, **someone,
    )  # fmt: skip
    server = subprocess.Popen(
        [
            cluster.binaries / "postgres", "-D", data, "-F", "-k", folder,
            "-h", "127.0.0.1", "-p", str(cluster.port),
        ],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **someone,
    )  # fmt: skip
    try:
        _wait(cluster, server)
        yield
    finally:
        server.terminate()
        server.wait()


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: who else it runs as then."""
    if os.geteuid():
        return {}
    known = {entry.pw_name for entry in pwd.getpwall()}
    name = "postgres" if "postgres" in known else "nobody"
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def _wait(cluster: PostgreSQL, server: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_SECONDS
    ready = [cluster.binaries / "pg_isready", "-q", "-h", "127.0.0.1"]
    while time.monotonic() < give_up and server.poll() is None:
        asked = subprocess.run([*ready, "-p", str(cluster.port)], check=False)
        if asked.returncode == 0:
            return
        time.sleep(0.2)
    pytest.fail(f"PostgreSQL did not start in {START_SECONDS:g} s")
