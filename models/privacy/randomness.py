"""Randomness that hides users: from the operating system, never from a seed.

torch's CPU generator keeps 32 bits of any seed, so that all of its noise streams can
be tried out in hours, and a `torch.Generator()` that nobody seeded is a constant. Here
the whole state of the Mersenne Twister, 19 937 bits, comes from `os.urandom`. CUDA's
Philox has a key of 64 bits: draw a new generator for every step.

Leaves out: noise that is exact on integers, for sums modulo 2^b.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

# The state as torch serialises it: seed, two flags and a position (24 bytes), then
# 624 words of 32 bits, each in 8 bytes; the rest caches a spare normal draw.
TWISTER_START, TWISTER_WORDS, WORD_BYTES = 24, 624, 4
PHILOX_KEY_BYTES = 8


def os_seeded_generator(device: torch.device | str = "cpu") -> torch.Generator:
    """A generator whose whole state is fresh entropy of the operating system.

    Args:
        device: where it draws, a CPU or a CUDA device.
    """
    generator = torch.Generator(device)
    state = generator.get_state()
    if torch.device(device).type == "cpu":
        generator.set_state(_with_entropy(state))
    else:
        key = torch.frombuffer(
            bytearray(os.urandom(PHILOX_KEY_BYTES)), dtype=torch.uint8
        )
        state[:PHILOX_KEY_BYTES] = key
        generator.set_state(state)
    return generator


def gaussian_noise(size: int, scale: float) -> NDArray[np.float64]:
    """Normal numbers of this standard deviation, float64 [size]."""
    drawn = torch.randn(size, generator=os_seeded_generator(), dtype=torch.float64)
    return np.asarray(drawn.numpy() * scale, dtype=np.float64)


def _with_entropy(state: torch.Tensor) -> torch.Tensor:
    """A CPU generator's state, uint8 [n], with all its words drawn anew."""
    fresh = torch.frombuffer(
        bytearray(os.urandom(TWISTER_WORDS * WORD_BYTES)), dtype=torch.uint8
    )
    words = torch.zeros(TWISTER_WORDS, 2 * WORD_BYTES, dtype=torch.uint8)
    words[:, :WORD_BYTES] = fresh.view(TWISTER_WORDS, WORD_BYTES)
    stop = TWISTER_START + words.numel()
    state = state.clone()
    state[TWISTER_START:stop] = words.view(-1)
    return state


@contextmanager
def os_seeded_process(device: torch.device | str = "cpu") -> Iterator[None]:
    """Torch's own generators draw from entropy inside, and go on as before outside.

    Dropout draws from them, one stream for all users of a batch. Were the stream
    known, taking one user away would change the masks of the others, and with them
    a sum that was to change by one user's share only.
    """
    place = torch.device(device)
    devices = [] if place.type == "cpu" else [place]
    with torch.random.fork_rng(devices=devices):
        torch.set_rng_state(os_seeded_generator().get_state())
        if devices:
            torch.cuda.set_rng_state(os_seeded_generator(place).get_state(), place)
        yield
