"""Huge updates through the masked sum: `python -m tests.benchmarks.large_update`.

Five silos and a coordinator, each a process of its own, run the whole protocol with the
product's own parties; one silo vanishes after it dealt its shares. Updates are random
numbers: nothing is trained. Each is quantised piece by piece into a mapped file, masked
there and read from there by the coordinator. What is counted as its memory is what a
process cannot give back: anonymous and shared pages, not the cache of mapped files.

One JSON line per figure; `--sizes` in millions of parameters.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from data_contracts.errors import FailureReason
from data_contracts.secure_aggregation import MaskedInput
from data_contracts.workspace import SiloFailure
from models.fixed_point import FixedPoint, signed
from tasks.secure_aggregation.client import Client
from tasks.secure_aggregation.identity import Identity
from tasks.secure_aggregation.server import Server
from tests.benchmarks.overhead import describe_machine
from tests.simulators.secure_round import terms_for

SILOS = 5
MILLION = 1_000_000
SIZES = (1, 10, 30, 100, 1000)
PIECE = 4 * MILLION
POINT = FixedPoint.of(4.0, SILOS)
SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    """Print a row for every size, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    chosen = parser.parse_args()
    describe_machine()
    rows = {size: measured(size * MILLION) for size in chosen.sizes}
    for size, row in rows.items():
        for name, value in row.items():
            say(f"{name}_{size}m", value, "s" if "seconds" in name else "ratio")
    if 100 in rows:
        at = rows[100]
        say("coordinator_memory_over_update_100m",
            at["coordinator_memory_over_update"], "ratio", "<= 1.2")  # fmt: skip
        say("seconds_per_100m_parameters", at["seconds"], "s")
        pace = {size: row["seconds"] / size for size, row in rows.items()}
        say("seconds_per_parameter_largest_over_100m",
            pace[max(rows)] / pace[100], "ratio", "<= 1.25")  # fmt: skip


def say(figure: str, value: float, unit: str, goal: str = "") -> None:
    """One figure, one line."""
    line = {"figure": figure, "value": round(value, 4), "unit": unit}
    print(json.dumps(line | ({"goal": goal} if goal else {})), flush=True)


def measured(length: int) -> dict[str, float]:
    """One sum in processes of its own."""
    ours, theirs = SPAWN.Pipe()
    with tempfile.TemporaryDirectory(prefix="silorec-large-") as folder:
        process = SPAWN.Process(target=coordinate, args=(theirs, length, Path(folder)))
        process.start()
        told: dict[str, float] = ours.recv()
        process.join()
    return told


def coordinate(pipe: Connection, length: int, folder: Path) -> None:
    """The coordinator: the protocol in order, timed, its memory watched."""
    silos = {f"silo-{n}": SiloProcess(f"silo-{n}", folder) for n in range(1, SILOS + 1)}
    terms = terms_for(SILOS)
    watch, began = MemoryWatch(), time.perf_counter()
    with watch:
        server = Server(terms, threads=1)
        for silo, party in silos.items():
            server.receive(silo, party.ask("advertise_keys", terms, length))
        roster = server.close_advertising()
        for silo, party in silos.items():
            server.receive(silo, party.ask("share_keys", roster))
        deliveries = server.close_sharing()
        gone = f"silo-{SILOS}"
        server.lose(SiloFailure(gone, FailureReason.DIED, "gone"))
        making = time.perf_counter()
        for silo in (s for s in silos if s != gone):
            message = silos[silo].ask("mask_input", deliveries[silo], length)
            server.receive(silo, read_from_file(message, folder / silo, length))
        uploaded = time.perf_counter()
        survivors = server.close_uploads()
        for silo in survivors.silos:
            server.receive(silo, silos[silo].ask("confirm_survivors", survivors))
        confirmed = server.close_confirmations()
        for silo in confirmed.silos:
            server.receive(silo, silos[silo].ask("reveal_shares", confirmed))
        opening = time.perf_counter()
        total = server.unmask()
        ended = time.perf_counter()
    require_the_sum(total, [silo for silo in silos if silo != gone])
    update = 4 * length
    pipe.send({
        "seconds": ended - began,
        "silos_one_after_the_other_seconds": uploaded - making,
        "opening_seconds": ended - opening,
        "coordinator_memory_over_update": watch.grown / update,
        "silo_memory_over_update": max(p.ask("grown") for p in silos.values()) / update,
    })  # fmt: skip
    for party in silos.values():
        party.end()


def read_from_file(message: MaskedInput, path: Path, length: int) -> MaskedInput:
    """The message with its words mapped from where the silo put them.

    The name is removed: the disk is free again when the sum lets go of the words.
    """
    words = np.memmap(path, dtype=np.uint32, mode="r", shape=(length,))
    path.unlink()
    return replace(message, words=words)


def require_the_sum(total: Any, silos: list[str]) -> None:
    """Recompute pieces at both ends and in the middle; every silo's part is in."""
    for lo in {0, len(total) // PIECE // 2 * PIECE, (len(total) - 1) // PIECE * PIECE}:
        size = min(PIECE, len(total) - lo)
        parts = [signed(POINT.encode(piece(s, lo, size))[0]) for s in silos]
        assert np.array_equal(total[lo : lo + size], np.sum(parts, axis=0))


def piece(silo: str, start: int, size: int) -> Any:
    """Random stretch of a silo's update, float32 [size]; the same when asked again."""
    random = np.random.default_rng([int(silo.removeprefix("silo-")), start])
    return random.standard_normal(size, dtype=np.float32) * np.float32(0.01)


class SiloProcess:
    """A silo in a process of its own."""

    def __init__(self, silo: str, folder: Path) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=be_a_silo, args=(theirs, silo, folder))
        self._process.start()
        self.ask("grown")  # it is up

    def ask(self, method: str, *args: Any) -> Any:
        """Its answer to one message."""
        self._pipe.send((method, args))
        return self._pipe.recv()

    def end(self) -> None:
        """Let it go."""
        self._pipe.send(("end", ()))
        self._process.join()


def be_a_silo(pipe: Connection, silo: str, folder: Path) -> None:
    """Answer with the product's own client, one message after the other."""
    client = Client(silo, secrets.token_bytes, Identity(secrets.token_bytes(32)))
    watch = MemoryWatch()
    steps: dict[str, Callable[..., Any]] = {
        "mask_input": lambda delivery, length: mask_into_file(
            client, delivery, length, folder / silo
        ),
        "grown": lambda: watch.grown,
    }
    with watch:
        while (asked := pipe.recv())[0] != "end":
            method, args = asked
            pipe.send(steps.get(method, getattr(client, method, None))(*args))


def mask_into_file(
    client: Client, delivery: Any, length: int, path: Path
) -> MaskedInput:
    """Quantise and mask in a mapped file; only its hash goes through the pipe."""
    words = np.memmap(path, dtype=np.uint32, mode="w+", shape=(length,))
    for lo in range(0, length, PIECE):
        stretch = words[lo : lo + PIECE]
        POINT.encode(piece(client.silo, lo, stretch.size), out=stretch)
    return replace(client.mask_input(delivery, words), words=np.empty(0, np.uint32))


class MemoryWatch:
    """The most anonymous and shared memory that this process holds at once."""

    def __init__(self) -> None:
        self._base = self._most = held_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def grown(self) -> int:
        """Bytes above what was held at the beginning."""
        return self._most - self._base

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            self._most = max(self._most, held_bytes())


def held_bytes() -> int:
    """RssAnon and RssShmem of this process."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    held = [line for line in lines if line.startswith(("RssAnon", "RssShmem"))]
    return sum(1024 * int(line.split()[1]) for line in held)


if __name__ == "__main__":
    main()
