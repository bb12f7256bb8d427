"""Reproducible stand-in for the operating system's random bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import count


def deterministic_bytes(seed: str) -> Callable[[int], bytes]:
    """SHA-256 in counter mode: another seed, another stream."""
    blocks = count()

    def random_bytes(size: int) -> bytes:
        out = b""
        while len(out) < size:
            out += hashlib.sha256(f"{seed}/{next(blocks)}".encode()).digest()
        return out[:size]

    return random_bytes
