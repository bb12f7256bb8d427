"""What a large update costs: `python -m tests.benchmarks.large_update [parameters]`.

Five silos, a process each, quantise, mask and hand over updates of random numbers; the
last one vanishes before it uploads. The coordinator is this process. All run the
protocol's own code, from fresh keys to the opened sum, which is then held, word by
word, against the sum of the quantised updates. An upload passes through a file that
the coordinator maps.

*Private* memory is what no other process sees and no file backs (RssAnon), at its
highest, beyond the idle process. *Total* also counts mapped files (VmHWM).
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import FailureReason
from data_contracts.secure_aggregation import KEY_BYTES, MaskedInput
from data_contracts.settings.training import ServerOptimizerConfig
from data_contracts.workspace import InputKind, SiloFailure
from models.chunks import chunks
from models.fixed_point import FixedPoint
from models.global_model import fresh_model, moved
from models.weighted_mean import Block, UpdateEncoding
from tasks.secure_aggregation.client import Client
from tasks.secure_aggregation.identity import Identity
from tasks.secure_aggregation.server import Server
from tests.benchmarks.figures import say
from tests.simulators.secure_round import terms_for

MILLION = 1_000_000
SIZES = (10 * MILLION, 30 * MILLION, 100 * MILLION, 300 * MILLION, 1000 * MILLION)
HEADLINE = 100 * MILLION
SILOS = 5
SHIFT = 1000  # each silo's update begins so much later in the one file of numbers
CLIP = 4.0
SAMPLE_SECONDS = 0.002


def main() -> None:
    """Print every figure."""
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    cpu = {size: row(size) / size for size in sizes}
    if HEADLINE in sizes:
        row(HEADLINE, ring_bits=8)
        say("global_update_memory_over_update_100m", update_memory(HEADLINE), "ratio")
    base = HEADLINE if HEADLINE in sizes else sizes[0]
    for size in sizes:
        name = f"cpu_per_parameter_{short(size)}_over_{short(base)}"
        say(name, cpu[size] / cpu[base], "ratio", "<= 1.25" if size > base else "")


def row(size: int, ring_bits: int = 32) -> float:
    """One sum of vectors of this length; CPU seconds of all that took part."""
    taken, coordinator, silos = summed(size, ring_bits)
    cpu = coordinator.cpu + sum(silo.cpu for silo in silos)
    largest = max(silo.private for silo in silos)
    name = short(size) + ("" if ring_bits == 32 else f"_ring_{ring_bits}")
    update = size * ring_bits / 8
    goal = "<= 1.2" if size >= HEADLINE and ring_bits == 32 else ""
    say(
        f"coordinator_memory_over_update_{name}",
        coordinator.private / update,
        "ratio",
        goal,
    )
    say(f"coordinator_total_over_update_{name}", coordinator.total / update, "ratio")
    say(f"silo_memory_over_update_{name}", largest / update, "ratio")
    say(f"seconds_{name}", taken, "s")
    say(f"cpu_seconds_{name}", cpu, "s")
    if size == HEADLINE and ring_bits == 32:
        say("seconds_per_100m_parameters", taken, "s")
    return cpu


@dataclass
class Cost:
    """Most bytes beyond the idle process, and CPU seconds."""

    private: int = 0
    total: int = 0
    cpu: float = 0.0


@contextmanager
def cost() -> Iterator[Cost]:
    """Watch this process until the block ends."""
    found, over, watching = Cost(), threading.Event(), 0.0
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    idle, idle_total = memory("RssAnon"), memory("VmHWM")
    began = time.process_time()

    def watch() -> None:
        nonlocal watching
        while not over.wait(SAMPLE_SECONDS):
            found.private = max(found.private, memory("RssAnon") - idle)
        watching = time.thread_time()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        found.total = memory("VmHWM") - idle_total
        found.cpu = time.process_time() - began - watching


def memory(entry: str) -> int:
    """Bytes, as the kernel counts them for this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(x.split()[1]) for x in lines if x.startswith(f"{entry}:"))


@dataclass
class Silos:
    """Processes that answer one message at a time."""

    folder: Path
    size: int
    ring_bits: int
    pipes: dict[str, Connection] = field(default_factory=dict)

    def __enter__(self) -> Silos:
        context = multiprocessing.get_context("fork")
        for place in range(SILOS):
            ours, theirs = context.Pipe()
            work = (theirs, place, self.folder, self.size, self.ring_bits)
            context.Process(target=be_a_silo, args=work, daemon=True).start()
            self.pipes[f"silo-{place + 1}"] = ours
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self.pipes.values():
            pipe.send(None)

    def ask(self, silo: str, step: str, *message: object) -> Any:
        """What the silo answers."""
        self.pipes[silo].send((step, message))
        return self.pipes[silo].recv()


def summed(size: int, ring_bits: int) -> tuple[float, Cost, list[Cost]]:
    """(wall seconds, cost at the coordinator, cost at each silo) of one sum."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_numbers(folder, size + SILOS * SHIFT)
        with Silos(folder, size, ring_bits) as silos:
            with cost() as coordinator:
                began = time.perf_counter()
                total = through_the_protocol(silos)
                taken = time.perf_counter() - began
            if ring_bits == 32:
                require_exact(total[:size], folder)
            costs = [silos.ask(silo, "cost") for silo in list(silos.pipes)[:-1]]
    return taken, coordinator, costs


def through_the_protocol(silos: Silos) -> NDArray[np.signedinteger]:
    """Phases 0 to 4, without the last silo from phase 2 on."""
    kind = InputKind(silos.ring_bits, "cd" * 32, "ab" * 32)
    terms = terms_for(SILOS, min_silos=3, kind=kind)
    server = Server(terms, threads=len(os.sched_getaffinity(0)))
    for silo in terms.members:
        server.receive(silo, silos.ask(silo, "advertise_keys", terms))
    roster = server.close_advertising()
    for silo in terms.members:
        server.receive(silo, silos.ask(silo, "share_keys", roster))
    *present, gone = terms.members
    deliveries = server.close_sharing()
    server.lose(SiloFailure(gone, FailureReason.DIED, f"silo {gone} vanished"))
    for silo in present:
        message, path = silos.ask(silo, "mask_input", deliveries[silo])
        words = np.memmap(path, dtype=f"u{silos.ring_bits // 8}", mode="r")
        path.unlink()
        server.receive(silo, replace(message, words=words))
        del words
    survivors = server.close_uploads()
    for silo in present:
        server.receive(silo, silos.ask(silo, "confirm_survivors", survivors))
    confirmed = server.close_confirmations()
    for silo in present:
        server.receive(silo, silos.ask(silo, "reveal_shares", confirmed))
    return server.unmask()


def be_a_silo(
    pipe: Connection, place: int, folder: Path, size: int, ring_bits: int
) -> None:
    """Answer until there is nothing more to answer."""
    name, taken = f"silo-{place + 1}", Cost()
    client = Client(name, secrets.token_bytes, Identity(secrets.token_bytes(KEY_BYTES)))
    encoding = UpdateEncoding(ring_bits, SILOS, (Block(size, CLIP),))
    while asked := pipe.recv():
        step, message = asked
        if step == "cost":
            pipe.send(taken)
        elif step == "advertise_keys":
            pipe.send(client.advertise_keys(*message, encoding.length))
        elif step == "mask_input":
            with cost() as taken:
                pipe.send(masked(client, encoding, place, folder, *message))
        else:
            pipe.send(getattr(client, step)(*message))


def masked(
    client: Client, encoding: UpdateEncoding, place: int, folder: Path, delivery: Any
) -> tuple[MaskedInput, Path]:
    """Quantise, mask and write to a file; the message goes without its words."""
    update = update_of(folder, place, encoding.size)
    dither = np.random.default_rng(place).random
    words = encoding.encode(update, weight_of(place), 1.0, dither=dither).words
    message = client.mask_input(delivery, words)
    path = folder / client.silo
    message.words.tofile(path)
    return replace(message, words=np.empty(0, words.dtype)), path


def weight_of(place: int) -> float:
    """The share of a silo: they differ, and add up to 1."""
    return (place + 1) / sum(range(1, SILOS + 1))


def update_of(folder: Path, place: int, size: int) -> NDArray[np.float32]:
    """What a silo has trained, float32 [d], mapped."""
    numbers = np.memmap(folder / "numbers", dtype=np.float32, mode="r")
    return numbers[place * SHIFT : place * SHIFT + size]


def write_numbers(folder: Path, count: int) -> None:
    """Random numbers of the size of updates."""
    generator = np.random.default_rng(0)
    with (folder / "numbers").open("wb") as file:
        for piece in chunks(count):
            length = piece.stop - piece.start
            drawn = generator.standard_normal(length, dtype=np.float32)
            file.write((drawn * np.float32(0.01)).data)


def require_exact(total: NDArray[np.signedinteger], folder: Path) -> None:
    """Hold the opened sum against the integer sum of what the silos quantised."""
    point = FixedPoint.of(CLIP, SILOS)
    present = range(SILOS - 1)
    updates = [update_of(folder, place, total.size) for place in present]
    for piece in chunks(total.size):
        expected = np.zeros(piece.stop - piece.start, np.uint32)
        for place in present:
            expected += point.encode(updates[place][piece], scale=weight_of(place))[0]
        if not np.array_equal(total[piece], expected.view(np.int32)):
            raise RuntimeError(
                f"the sum is wrong between {piece.start} and {piece.stop}"
            )


def update_memory(size: int) -> float:
    """Most memory of decoding a sum and moving the model, over one update.

    Beyond the model and the sum that are there before; what stays is the mean update,
    in double precision, and the new model.
    """
    encoding = UpdateEncoding(32, SILOS, (Block(size, CLIP),))
    total = np.ones(encoding.length, np.int32)
    config = ServerOptimizerConfig()
    model = fresh_model(np.ones(size, np.float32), config)
    with cost() as found:
        mean = encoding.decode(total)
        after = moved(model, mean.update, config)
    assert after.vector_hash != model.vector_hash
    return found.private / (4 * size)


def short(size: int) -> str:
    """10m, 100m, 1000m."""
    return f"{size // MILLION}m"


if __name__ == "__main__":
    main()
