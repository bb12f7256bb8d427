"""What masking costs: `python -m tests.benchmarks.secure_aggregation`.

The limit is the bare AES-256-CTR keystream that the masks are made of: as many bytes,
in as large pieces, and nothing else. Ratios are of CPU time within one run, so they
hold on other machines. One JSON line per figure; goals where there is one.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import secrets
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from data_contracts.mask_graph import usual_neighbours
from data_contracts.secure_aggregation import MaskedInput, ShareDelivery
from models.fixed_point import FixedPoint, signed
from tasks.secure_aggregation.masking import Mask, apply_masks
from tasks.secure_aggregation.running_sum import RunningSum
from tests.benchmarks.figures import say
from tests.simulators.secure_round import SecureRound, random_inputs, terms_for

PARAMETERS = 10_000_000
UPLOADED = 1_000_000
PIECE = 256 * 1024
REPEATS = 5
FLOWER = str(Path(__file__).parent / "rivals/flower_secure_aggregation.py")

T = TypeVar("T")


def main() -> None:
    """Print every figure."""
    for num_silos, goal in ((5, 0.65), (10, 0.75)):
        limit = keystream_seconds(num_silos, PARAMETERS)
        masking, both = silo_seconds(num_silos, PARAMETERS)
        name = f"mask_over_aes_limit_n{num_silos}"
        say(name, limit / masking, "ratio", f">= {goal}")
        say(f"quantise_and_{name}", limit / both, "ratio", "")
    ratio = keystream_seconds(18, PARAMETERS) / coordinator_seconds(10, PARAMETERS)
    say("coordinator_over_aes_limit_n10_one_dropout", ratio, "ratio", ">= 0.7")
    threads, cipher = gain_of_two_threads(10, PARAMETERS)
    say("two_thread_gain", threads, "ratio", ">= 1.5")
    say("two_thread_gain_of_the_bare_cipher", cipher, "ratio", "")
    per_parameter = upload_bytes(UPLOADED) / UPLOADED
    say("upload_bytes_per_parameter", per_parameter, "bytes", "< 4.004")
    say("silo_memory_over_vector_mib", memory_over_vector(), "MiB", "<= 8")
    for num_silos in (10, 100, 500):
        silo, coordinator = control_plane_seconds(num_silos)
        goals = ("<= 60", "<= 150") if num_silos == 100 else ("", "")
        name = f"control_plane_n{num_silos}"
        say(f"{name}_silo_ms", 1000 * silo, "ms", goals[0])
        say(f"{name}_coordinator_ms", 1000 * coordinator, "ms", goals[1])
    scaling()
    if python := os.environ.get("SILOREC_FLOWER_PYTHON"):
        beside_flower(python)


def keystream_seconds(num_masks: int, words: int) -> float:
    """CPU seconds for the keystream of this many masks alone."""
    zeros, into = bytes(PIECE), bytearray(PIECE)
    streams = [_stream() for _ in range(num_masks)]

    def work() -> None:
        for _ in range(4 * words // PIECE):
            for stream in streams:
                stream.update_into(zeros, into)

    return _seconds(work)


def silo_seconds(num_silos: int, words: int) -> tuple[float, float]:
    """CPU seconds for a silo to mask its update, and to quantise and mask it."""
    update = np.random.default_rng(0).normal(0, 0.01, words).astype(np.float32)
    encoding = FixedPoint.of(4.0, num_silos)
    masks = _masks(num_silos)
    ready = encoding.encode(update)[0]
    return (
        _seconds(lambda: apply_masks(ready, masks)),
        _seconds(lambda: apply_masks(encoding.encode(update)[0], masks)),
    )


def coordinator_seconds(num_silos: int, words: int) -> float:
    """CPU seconds to add all uploads but one, unmask and decode.

    Masks that come off: the self masks of those who uploaded and the pairwise ones
    between them and the silo that vanished, 2 (n - 1) in all.
    """
    uploads = [np.ones(words, np.uint32) for _ in range(2)]
    encoding, masks = FixedPoint.of(4.0, num_silos), _masks(2 * (num_silos - 1))

    def work() -> None:
        running = RunningSum()
        for place in range(num_silos - 1):
            running.add(uploads[place % 2])
        total = running.take(masks)
        encoding.decode(signed(total))

    return _seconds(work)


def gain_of_two_threads(num_silos: int, words: int) -> tuple[float, float]:
    """Wall time of one thread over that of two: of masking, and of the cipher alone.

    The second says what the machine has to give: two virtual cores may be one.
    """
    ready, masks = np.ones(words, np.uint32), _masks(num_silos)
    zeros = bytes(PIECE)

    def cipher(share: int) -> None:
        stream, into = _stream(), bytearray(PIECE)
        for _ in range(num_silos * 4 * words // PIECE // share):
            stream.update_into(zeros, into)

    def two_ciphers() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(cipher, (2, 2)))

    one, two = (
        _seconds(lambda n=n: apply_masks(ready, masks, threads=n), time.perf_counter)
        for n in (1, 2)
    )
    alone = _seconds(lambda: cipher(1), time.perf_counter)
    return one / two, alone / _seconds(two_ciphers, time.perf_counter)


def scaling() -> None:
    """Nanoseconds per silo and parameter of masking, from small sums to large ones.

    The last line is the worst over the one of ten silos and a million parameters:
    cost that grows faster than n x d shows as a figure above 1.
    """
    cost = {}
    for num_silos in (2, 10, 50, 200):
        for words in (10**5, 10**6, 10**7, 10**8):
            vector, masks = np.ones(words, np.uint32), _masks(num_silos)
            repeats = 1 if num_silos * words > 10**8 else REPEATS
            seconds = _seconds(
                lambda v=vector, m=masks: apply_masks(v, m), repeats=repeats
            )
            cost[num_silos, words] = 1e9 * seconds / num_silos / words
            name = f"mask_ns_per_silo_and_parameter_n{num_silos}_d{words:.0e}"
            say(name.replace("+0", ""), cost[num_silos, words], "ns", "")
    worst = max(cost.values()) / cost[10, 10**6]
    say("mask_cost_worst_over_n10_d1e6", worst, "ratio", "<= 1.25")


def beside_flower(python: str) -> None:
    """The same sum by Flower's own SecAgg+ functions: CPU seconds, and the ratios."""
    for num_silos, suffix in ((5, "_n5"), (10, "")):
        command = [python, FLOWER, str(PARAMETERS), str(num_silos)]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        flower = json.loads(told.stdout.splitlines()[-1])
        client, unmask = paired_seconds(num_silos, PARAMETERS)
        say(f"flower_client_cpu_seconds{suffix}", flower["client"], "s", "")
        say(f"flower_unmask_cpu_seconds{suffix}", flower["unmask"], "s", "")
        say(
            f"client_cpu_vs_flower{suffix}", flower["client"] / client, "ratio", ">= 12"
        )
        say(f"unmask_cpu_vs_flower{suffix}", flower["unmask"] / unmask, "ratio", ">= 8")
    say("flower_upload_bytes_per_parameter", flower["upload"], "bytes", "")


def paired_seconds(num_silos: int, words: int) -> tuple[float, float]:
    """CPU seconds of (one silo in all phases, the coordinator's unmasking).

    Floats in, floats out; the last silo vanishes before it uploads.
    """
    update = np.random.default_rng(0).normal(0, 0.01, words).astype(np.float32)
    encoding = FixedPoint.of(4.0, num_silos)
    encoded, encode = _timed(lambda: encoding.encode(update)[0])
    inputs = {f"silo-{n}": encoded for n in range(1, num_silos + 1)}
    spent: dict[str, float] = {}
    # A silo hands its vector over; here it is needed again for every silo.
    copies = {silo: words.copy() for silo, words in inputs.items()}

    class Timing(SecureRound):
        def _pass_on(self, silo: str, make: Callable[[], object]) -> None:
            message, seconds = _timed(make)
            spent[silo] = spent.get(silo, 0.0) + seconds
            super()._pass_on(silo, lambda: message)

        def _masked(self, silo: str, delivery: ShareDelivery) -> MaskedInput:
            return self.clients[silo].mask_input(delivery, copies.pop(silo))

    round_ = Timing(terms_for(num_silos), inputs)
    round_.gone = {(f"silo-{num_silos}", "MaskedInput")}
    roster = round_.advertise()
    confirmed = round_.confirm(round_.upload(round_.share(roster)))
    unmask, round_.server.unmask = round_.server.unmask, lambda: None
    round_.reveal(confirmed)
    _, opened = _timed(lambda: encoding.decode(unmask()))
    return encode + spent["silo-1"], opened


def upload_bytes(words: int) -> int:
    """Bytes a silo sends in all phases, of ten."""
    from tasks.secure_aggregation.bookkeeping import payload_bytes

    sent: dict[str, int] = {}

    class Counting(SecureRound):
        def _changed(self, silo: str, message: object) -> object:
            if getattr(message, "silo", None) == silo:
                sent[silo] = sent.get(silo, 0) + payload_bytes(message)
            return message

    Counting(terms_for(10), random_inputs(10, words)).run()
    return max(sent.values())


def memory_over_vector() -> float:
    """MiB that masking takes at most beside the vector, in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_mask_and_tell, args=(theirs,))
    process.start()
    grown = float(ours.recv())
    process.join()
    return grown


def control_plane_seconds(num_silos: int) -> tuple[float, float]:
    """CPU seconds of (one silo, the coordinator) for a vector of one word."""
    whole, own = 0.0, 0.0
    round_ = SecureRound(
        terms_for(num_silos, neighbours=usual_neighbours(num_silos)),
        random_inputs(num_silos, 1),
    )

    def timed(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            nonlocal own
            began = time.process_time()
            try:
                return work()
            finally:
                own += time.process_time() - began

        return run

    pass_on = round_._pass_on
    round_._pass_on = lambda silo, make: pass_on(silo, timed(make))
    began = time.process_time()
    round_.run()
    whole = time.process_time() - began
    return own / num_silos, whole - own


def _mask_and_tell(pipe: Connection) -> None:
    words = np.ones(PARAMETERS, np.uint32)
    masks = _masks(10)
    apply_masks(words[:PIECE], masks)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    apply_masks(words, masks)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send((after - before) / 1024)


def _masks(count: int) -> list[Mask]:
    return [Mask(secrets.token_bytes(32), bool(place % 2)) for place in range(count)]


def _stream():  # type: ignore[no-untyped-def] # the library's own type is private
    return Cipher(AES256(secrets.token_bytes(32)), CTR(bytes(16))).encryptor()


def _seconds(
    work: Callable[[], object],
    clock: Callable[[], float] = time.process_time,
    repeats: int = REPEATS,
) -> float:
    """The least of several runs, after one that warms up."""
    if repeats > 1:
        work()
    return min(_timed(work, clock)[1] for _ in range(repeats))


def _timed(
    work: Callable[[], T], clock: Callable[[], float] = time.process_time
) -> tuple[T, float]:
    began = clock()
    return work(), clock() - began


if __name__ == "__main__":
    main()
