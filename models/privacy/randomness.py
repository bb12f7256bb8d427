"""Random numbers that protect: from the operating system, never from a seed.

torch's CPU generator keeps 32 bits of any seed, so all its streams can be tried in
hours. Here its whole state is filled instead.
"""

from __future__ import annotations

import os

import torch

_STATE_WORDS = 624
_FIRST_WORD = 24
"""Byte at which the Mersenne twister's words begin in torch's generator state."""
_WORD_BYTES = 8


def os_seeded_generator() -> torch.Generator:
    """A CPU generator whose state of 624 words is drawn from the operating system."""
    generator = torch.Generator()
    state = generator.get_state()
    words = torch.frombuffer(bytearray(os.urandom(4 * _STATE_WORDS)), dtype=torch.uint8)
    widened = torch.zeros(_STATE_WORDS, _WORD_BYTES, dtype=torch.uint8)
    widened[:, :4] = words.view(_STATE_WORDS, 4)
    state[_FIRST_WORD : _FIRST_WORD + widened.numel()] = widened.flatten()
    generator.set_state(state)
    return generator
