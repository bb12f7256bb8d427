"""What the homomorphic mode costs beside masking: `make bench-he`.

CPU time within one run, one JSON line per figure; goals where there is one. Needs the
extra: `pip install 'silorec[he]'`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import numpy as np

from models.fixed_point import limit_for
from tasks.secure_aggregation.ciphertexts import (
    RunningSum,
    SecretKey,
    new_secret_key,
)
from tasks.secure_aggregation.encrypted_vectors import (
    decrypted,
    encrypted,
    num_ciphertexts,
)
from tasks.secure_aggregation.masking import Mask, apply_masks
from tasks.secure_aggregation.sum_tags import SumTags
from tests.benchmarks.figures import say

PARAMETERS = 200_000
SILOS = 10
NANO = 1e9 / PARAMETERS
REPEATS = 5


def main() -> None:
    """Print every figure."""
    largest = limit_for(SILOS)
    generator = np.random.default_rng(0)
    values = generator.integers(-largest, largest, PARAMETERS, dtype=np.int32)
    written = new_secret_key()
    key = SecretKey.read(written)
    tags = SumTags(bytes(32), bytes(32), num_ciphertexts(PARAMETERS))
    upload = encrypted(values, key, tags, 1)

    encrypting = NANO * cpu_seconds(lambda: encrypted(values, key, tags, 1))
    running = RunningSum(len(upload))
    adding = NANO * cpu_seconds(lambda: running.add(upload))
    opening = NANO * cpu_seconds(lambda: decrypted(upload, key, tags, [1]))
    words = values.view(np.uint32).copy()
    masks = [Mask(secrets.token_bytes(32), bool(i % 2)) for i in range(SILOS)]
    masking = NANO * cpu_seconds(lambda: apply_masks(words, masks))

    sent = sum(map(len, upload)) / PARAMETERS
    say("he_encrypt_ns_per_parameter", encrypting, "ns", "<= 500")
    say("he_open_ns_per_parameter", opening, "ns", "<= 300")
    say("he_add_ns_per_parameter_and_silo", adding, "ns", "<= 60")
    say("he_upload_bytes_per_parameter", sent, "bytes", "<= 16.1")
    say("he_shared_key_bytes", len(written), "bytes", "")
    say("mask_ns_per_parameter_n10", masking, "ns", "")
    say("he_encrypt_to_mask_n10", encrypting / masking, "ratio", "")
    say("he_upload_to_masked_upload", sent / 4, "ratio", "")


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of the quickest of several times, after one to warm up."""
    work()
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
