"""Tags that show whether a sum is what it is said to be (HOMOMORPHIC.md, 4).

A linearly homomorphic authenticator after Agrawal and Boneh, *Homomorphic MACs* (ACNS
2009). For the values x of ciphertext c of the silo in seat u, modulo the prime p:

    tag(u, c) = sum over i of k_i x_i + pad(u, c)

The tags of the true inputs add up to the tag of their sum. Whoever lacks the key and
presents anything else, with other silos in it, other multiples or other places, passes
with probability 1/p, less than 2^-32: pads and coefficients are independent of all it
has seen, as tags travel encrypted.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from tasks.secure_aggregation.ciphertexts import PLAIN_MODULUS, SLOTS
from tasks.secure_aggregation.context import Domain
from tasks.secure_aggregation.keys import derive

TAGGED = SLOTS - 1  # values in one ciphertext; the last slot is their tag
_LOW_BITS = 16


class SumTags:
    """Tags of the inputs of one aggregation.

    Args:
        key: 32 bytes that the silos share and the coordinator does not know.
        context: hash of roster, dealer and parameters.
        num_ciphertexts: of every input.
    """

    def __init__(self, key: bytes, context: bytes, num_ciphertexts: int) -> None:
        self._key = key
        self._context = context
        self._num_ciphertexts = num_ciphertexts
        seed = derive(key, context, Domain.TAG_COEFFICIENTS)
        self._coefficients = _residues(seed, TAGGED)

    def pads(self, seats: Iterable[int]) -> NDArray[np.int64]:
        """Pads [ciphertexts] of these silos together, modulo p."""
        total = np.zeros(self._num_ciphertexts, dtype=np.int64)
        for seat in seats:
            key = derive(self._key, self._context, Domain.TAG_PADS, seat)
            total = (total + _residues(key, self._num_ciphertexts)) % PLAIN_MODULUS
        return total

    def tag(self, values: NDArray[np.int64], pad: int) -> int:
        """The tag of values [TAGGED], each below 2^33 in size, modulo p.

        Values are split so that no product sum leaves int64: 2^33 (coefficient) times
        2^17 (part) times 2^12 (slots) is 2^62.
        """
        high, low = values >> _LOW_BITS, values & (2**_LOW_BITS - 1)
        upper = int(np.dot(self._coefficients, high)) << _LOW_BITS
        return (upper + int(np.dot(self._coefficients, low)) + pad) % PLAIN_MODULUS


def _residues(key: bytes, count: int) -> NDArray[np.int64]:
    """Numbers [count] modulo p: 64-bit words of AES-256-CTR, biased by under 2^-31.

    The nonce is zero: each key makes exactly one stream.
    """
    stream = Cipher(AES256(key), CTR(bytes(16))).encryptor()
    words = np.frombuffer(stream.update(bytes(8 * count)), dtype="<u8")
    return (words % np.uint64(PLAIN_MODULUS)).astype(np.int64)
