"""What masking costs: `python -m tests.benchmarks.secure_aggregation`.

The limit is the bare AES-256-CTR keystream that the masks are made of: as many bytes,
in as large pieces, and nothing else. Ratios are of CPU time within one run, so they
hold on other machines. One JSON line per figure; goals where there is one.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import secrets
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from models.fixed_point import FixedPoint
from tasks.secure_aggregation.masking import Mask, apply_masks
from tests.simulators.secure_round import SecureRound, random_inputs, terms_for

PARAMETERS = 10_000_000
UPLOADED = 1_000_000
PIECE = 256 * 1024
REPEATS = 5


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
    per_parameter = upload_bytes(UPLOADED) / UPLOADED
    say("upload_bytes_per_parameter", per_parameter, "bytes", "< 4.004")
    say("silo_memory_over_vector_mib", memory_over_vector(), "MiB", "<= 8")
    for num_silos in (10, 100):
        silo, coordinator = control_plane_seconds(num_silos)
        goals = ("<= 60", "<= 150") if num_silos == 100 else ("", "")
        name = f"control_plane_n{num_silos}"
        say(f"{name}_silo_ms", 1000 * silo, "ms", goals[0])
        say(f"{name}_coordinator_ms", 1000 * coordinator, "ms", goals[1])


def keystream_seconds(num_masks: int, words: int) -> float:
    """CPU seconds for the keystream of this many masks alone."""
    zeros, into = bytes(PIECE), bytearray(PIECE)
    streams = [_stream() for _ in range(num_masks)]

    def work() -> None:
        for _ in range(4 * words // PIECE):
            for stream in streams:
                stream.update_into(zeros, into)

    return _cpu_seconds(work)


def silo_seconds(num_silos: int, words: int) -> tuple[float, float]:
    """CPU seconds for a silo to mask its update, and to quantise and mask it."""
    update = np.random.default_rng(0).normal(0, 0.01, words).astype(np.float32)
    encoding = FixedPoint.of(4.0, num_silos)
    masks = _masks(num_silos)
    ready = encoding.encode(update)[0]
    return (
        _cpu_seconds(lambda: apply_masks(ready, masks)),
        _cpu_seconds(lambda: apply_masks(encoding.encode(update)[0], masks)),
    )


def coordinator_seconds(num_silos: int, words: int) -> float:
    """CPU seconds to add all uploads but one, unmask and decode.

    Masks that come off: the self masks of those who uploaded and the pairwise ones
    between them and the silo that vanished, 2 (n - 1) in all.
    """
    uploads = [np.ones(words, np.uint32) for _ in range(2)]
    encoding, masks = FixedPoint.of(4.0, num_silos), _masks(2 * (num_silos - 1))

    def work() -> None:
        total = np.zeros(words, np.uint32)
        for place in range(num_silos - 1):
            np.add(total, uploads[place % 2], out=total)
        apply_masks(total, masks)
        encoding.decode(total.view(np.int32))

    return _cpu_seconds(work)


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
    round_ = SecureRound(terms_for(num_silos), random_inputs(num_silos, 1))

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


def say(figure: str, value: float, unit: str, goal: str) -> None:
    """One figure, one line."""
    line = {"figure": figure, "value": round(value, 4), "unit": unit}
    print(json.dumps(line | ({"goal": goal} if goal else {})), flush=True)


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


def _cpu_seconds(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
