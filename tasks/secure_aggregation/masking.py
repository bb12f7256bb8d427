"""The mask kernel: AES-256-CTR words added to or taken from a vector (PROTOCOL.md, 7).

Word i of the mask of a key is bytes 4i ... 4i+3 of its keystream, little-endian, and
the counter starts at i / 4: any range can be masked alone, in any order, by anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

_WORDS_PER_BLOCK = 4
_CHUNK = 65_536  # words: 256 KiB, so keystream and vector share the second-level cache
_ZEROS = bytes(4 * _CHUNK)


@dataclass(frozen=True)
class Mask:
    """One keystream and whether it is added or subtracted."""

    key: bytes = field(repr=False)
    subtract: bool

    def opposite(self) -> Mask:
        """What takes this mask off again."""
        return Mask(self.key, not self.subtract)


def pairwise(key: bytes, seat: int, other_seat: int) -> Mask:
    """The mask `seat` applies for its pair: added by the lower seat, else subtracted.

    The two applications cancel in the sum (Bonawitz et al. 2017, section 4).
    """
    return Mask(key, subtract=seat > other_seat)


def apply_masks(
    words: NDArray[np.uint32], masks: Sequence[Mask], *, start: int = 0
) -> None:
    """Apply all masks to `words` in place, modulo 2^32.

    Args:
        words: uint32 [k], elements start ... start + k of the whole vector.
        masks: every mask of this vector.
        start: where the range begins in the whole vector.

    Memory beyond the vector: 256 KiB and one cipher state per mask.
    """
    streams = [(_keystream(mask.key, start), mask.subtract) for mask in masks]
    buffer = np.empty(_CHUNK, dtype="<u4")
    raw = buffer.data.cast("B")
    zeros = memoryview(_ZEROS)
    for lo in range(0, words.size, _CHUNK):
        chunk = words[lo : lo + _CHUNK]
        noise = buffer[: chunk.size]
        for stream, subtract in streams:
            stream.update_into(zeros[: 4 * chunk.size], raw)
            (np.subtract if subtract else np.add)(chunk, noise, out=chunk)


def _keystream(key: bytes, start: int) -> CipherContext:
    """The keystream of `key` from word `start` on."""
    block, offset = divmod(start, _WORDS_PER_BLOCK)
    # The counter begins at the block and the nonce part is zero: a key masks exactly
    # one vector, so no counter is ever used twice.
    stream = Cipher(AES256(key), CTR(block.to_bytes(16))).encryptor()
    stream.update(bytes(4 * offset))
    return stream
