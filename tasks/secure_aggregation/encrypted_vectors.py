"""Whole vectors as ciphertexts: `TAGGED` numbers and their tag in each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from tasks.secure_aggregation.ciphertexts import PLAIN_MODULUS, SLOTS, SecretKey
from tasks.secure_aggregation.sum_tags import TAGGED, SumTags


def num_ciphertexts(length: int) -> int:
    """How many ciphertexts hold a vector of this length.

    >>> [num_ciphertexts(d) for d in (0, 1, 4095, 4096)]
    [0, 1, 1, 2]
    """
    return -(-length // TAGGED)


def encrypted(
    values: NDArray[np.int32], key: SecretKey, tags: SumTags, seat: int
) -> tuple[bytes, ...]:
    """The ciphertexts of a silo's vector [d], tagged as its own.

    Args:
        values: signed integers.
        key: encrypts.
        tags: of this aggregation.
        seat: of the silo.
    """
    pads = tags.pads([seat])
    slots = np.zeros(SLOTS, dtype=np.int64)
    ciphertexts = []
    for place, pad in enumerate(pads.tolist()):
        part = values[place * TAGGED : (place + 1) * TAGGED]
        slots[: part.size] = part
        slots[part.size :] = 0
        slots[-1] = _as_signed(tags.tag(slots[:-1], pad))
        ciphertexts.append(key.encrypt(slots))
    return tuple(ciphertexts)


def decrypted(
    ciphertexts: Sequence[bytes], key: SecretKey, tags: SumTags, seats: Iterable[int]
) -> NDArray[np.int64]:
    """The sum of the vectors of exactly the silos in these seats, with its padding.

    Raises:
        ProtocolError: the tags do not add up, so it is the sum of something else.
    """
    total = np.empty((len(ciphertexts), TAGGED), dtype=np.int64)
    pads = tags.pads(seats).tolist()
    for row, ciphertext, pad in zip(total, ciphertexts, pads, strict=True):
        slots = key.decrypt(ciphertext)
        row[:] = slots[:-1]
        if tags.tag(slots[:-1], pad) != int(slots[-1]) % PLAIN_MODULUS:
            raise ProtocolError(
                "what was to be opened is not the sum of the uploads on the signed "
                "list: the coordinator or a silo changed it; nothing was opened"
            )
    return total.reshape(-1)


def inputs_sha256(ciphertexts: Sequence[bytes]) -> str:
    """SHA-256 hex of ciphertexts, each after its length in 8 bytes."""
    joined = hashlib.sha256()
    for ciphertext in ciphertexts:
        joined.update(len(ciphertext).to_bytes(8))
        joined.update(ciphertext)
    return joined.hexdigest()


def total_sha256(total: NDArray[np.int64]) -> str:
    """SHA-256 hex of integers [d] as little-endian bytes."""
    return hashlib.sha256(total.astype("<i8", copy=False).data).hexdigest()


def _as_signed(residue: int) -> int:
    return residue - PLAIN_MODULUS if residue > PLAIN_MODULUS // 2 else residue
