"""The mask kernel: AES-256-CTR words added to or taken from a vector (PROTOCOL.md, 7).

Word i of the mask of a key is the w bytes from byte w i of its keystream, as
little-endian; w is 4, 2 or 1 with the ring. The counter counts blocks of 16 bytes, so
any range can be masked alone, in any order, by anybody: in threads, or in a file that
is mapped into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise as neighbours

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

Words = NDArray[np.unsignedinteger]

_BLOCK_BYTES = 16
_CHUNK_BYTES = 256 * 1024  # keystream and vector share the second-level cache
_ZEROS = bytes(_CHUNK_BYTES)
_ENOUGH_FOR_A_THREAD = 8 * _CHUNK_BYTES


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
    words: Words,
    masks: Sequence[Mask],
    *,
    start: int = 0,
    threads: int = 1,
    base: Words | None = None,
    addends: Sequence[Words] = (),
) -> None:
    """Apply all masks to `words` in place, modulo 2^(8 w).

    Args:
        words: uint32, uint16 or uint8 [k], elements start ... start + k of the whole
            vector; may be mapped from a file.
        masks: every mask of this vector.
        start: where the range begins in the whole vector.
        threads: how many work on it; the result has the same bits for any number.
        base: [k]; what `words` begin as, instead of what is in them.
        addends: vectors [k] that are added in the same pass.

    Memory beyond the vector, per thread: 256 KiB and one cipher state per mask.
    """
    parts = max(1, min(threads, words.nbytes // _ENOUGH_FOR_A_THREAD))
    if parts == 1:
        _apply_to_range(words, masks, start, base, addends)
        return
    bounds = [words.size * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        ranges = [
            pool.submit(
                _apply_to_range,
                words[lo:hi],
                masks,
                start + lo,
                None if base is None else base[lo:hi],
                [addend[lo:hi] for addend in addends],
            )
            for lo, hi in neighbours(bounds)
        ]
        for done in ranges:
            done.result()


def _apply_to_range(
    words: Words,
    masks: Sequence[Mask],
    start: int,
    base: Words | None,
    addends: Sequence[Words],
) -> None:
    width = words.itemsize
    streams = [(_keystream(m.key, width * start), m.subtract) for m in masks]
    buffer = np.empty(_CHUNK_BYTES // width, dtype=f"<u{width}")
    raw = buffer.data.cast("B")
    zeros = memoryview(_ZEROS)
    for lo in range(0, words.size, buffer.size):
        chunk = words[lo : lo + buffer.size]
        noise = buffer[: chunk.size]
        if base is not None:
            np.copyto(chunk, base[lo : lo + chunk.size])
        for addend in addends:
            np.add(chunk, addend[lo : lo + chunk.size], out=chunk)
        for stream, subtract in streams:
            stream.update_into(zeros[: chunk.nbytes], raw)
            (np.subtract if subtract else np.add)(chunk, noise, out=chunk)


def _keystream(key: bytes, byte: int) -> CipherContext:
    """The keystream of `key` from this byte on."""
    block, offset = divmod(byte, _BLOCK_BYTES)
    # The counter begins at the block and the nonce part is zero: a key masks exactly
    # one vector, so no counter is ever used twice.
    stream = Cipher(AES256(key), CTR(block.to_bytes(16))).encryptor()
    stream.update(bytes(offset))
    return stream
