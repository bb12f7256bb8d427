"""Exact integer noise: the discrete Gaussian, from the operating system's randomness.

Canonne, Kamath and Steinke 2020 (arXiv 2004.00010), algorithms 1 to 3, for whole
vectors. Every decision compares whole numbers, so the distribution is the one of the
proofs and not that of floating-point logarithms and exponentials (Mironov 2012). The
scale is a power of two, which makes those comparisons cheap; whoever chooses the unit
of the grid (`models/privacy/joint_noise.py`) loses nothing by it.

Left out: protection against somebody who measures how long a draw takes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
RandomBytes = Callable[[int], bytes]

KEY_BYTES = 32
LARGEST_EXPONENT = 24
_CHUNK = 32_768  # draws; what they need stays in the second-level cache
_FLOAT_BITS = 53


class Keystream:
    """Uniform words: AES-256-CTR under a key that is drawn here and kept by nobody.

    Args:
        random_bytes: the operating system's generator, `secrets.token_bytes`.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        key = random_bytes(KEY_BYTES)
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, got {len(key)}")
        self._stream = Cipher(AES256(key), CTR(bytes(16))).encryptor()

    def words(self, count: int) -> NDArray[np.uint64]:
        """Uniform 64-bit words [count]."""
        return np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8")

    def bits(self, count: int, width: int) -> Integers:
        """Uniform whole numbers of `width` bits, 0 ... 63, int64 [count]."""
        if width == 0:
            return np.zeros(count, dtype=np.int64)
        return (self.words(count) >> np.uint64(64 - width)).astype(np.int64)

    def one_in(self, count: int, number: int) -> Booleans:
        """Each true with probability 1 / number, exactly; bool [count]."""
        # Words from the last, incomplete multiple on would favour small remainders.
        beyond = 2**64 - 2**64 % number
        words = self.words(count)
        if beyond < 2**64:
            words = words.copy()
            while (again := np.flatnonzero(words >= np.uint64(beyond))).size:
                words[again] = self.words(again.size)
        hits: Booleans = words % np.uint64(number) == 0
        return hits

    def unit_interval(self, count: int) -> NDArray[np.float64]:
        """Uniform multiples of 2^-53 in [0, 1), float64 [count]."""
        return np.ldexp(self.bits(count, _FLOAT_BITS).astype(np.float64), -_FLOAT_BITS)


def discrete_gaussian(count: int, exponent: int, stream: Keystream) -> Integers:
    """Independent draws, P[y] proportional to exp(-y^2 / (2 s^2)), s = 2^exponent.

    Algorithm 3: a discrete Laplace draw y of scale s stays with probability
    exp(-(|y| - s)^2 / (2 s^2)), else another is made. The variance is at most s^2.

    Args:
        count: how many.
        exponent: 0 ... 24.
        stream: fresh; whoever knows its key can take the noise off.

    Returns:
        int64 [count].
    """
    if not 0 <= exponent <= LARGEST_EXPONENT:
        raise ValueError(
            f"exponent {exponent} must lie between 0 and {LARGEST_EXPONENT}"
        )
    scale = 1 << exponent
    drawn = np.empty(count, dtype=np.int64)
    done = 0
    while done < count:
        missing = min(count - done, _CHUNK)
        proposed = _discrete_laplace(missing + missing // 2 + 8, exponent, stream)
        beyond = np.abs(proposed) - scale
        stays = bernoulli_exp(beyond * beyond, 2 * exponent + 1, stream)
        accepted = proposed[stays][:missing]
        drawn[done : done + accepted.size] = accepted
        done += accepted.size
    return drawn


def bernoulli_exp(numerators: Integers, bits: int, stream: Keystream) -> Booleans:
    """Each true with probability exp(-numerator / 2^bits), exactly; algorithm 1.

    Args:
        numerators: int64 [n], 0 or above.
        bits: 0 ... 62.
        stream: of randomness.
    """
    wholes = numerators >> bits
    result = _bernoulli_exp_of_fraction(numerators - (wholes << bits), bits, stream)
    pending = np.flatnonzero(result & (wholes > 0))
    turn = 0
    while pending.size:
        turn += 1
        passed = _bernoulli_exp_of_one(pending.size, stream)
        result[pending[~passed]] = False
        pending = pending[passed & (wholes[pending] > turn)]
    return result


def _bernoulli_exp_of_fraction(
    numerators: Integers, bits: int, stream: Keystream
) -> Booleans:
    """The same for numerators up to 2^bits: exp(-g) is its alternating series.

    The first k whose own trial, of probability g / k, fails is odd with probability
    1 - g + g^2 / 2 - ...
    """
    result = np.zeros(numerators.size, dtype=bool)
    alive = np.arange(numerators.size)
    k = 1
    while alive.size:
        hit = stream.bits(alive.size, bits) < numerators[alive]
        if k > 1:
            hit[hit] = stream.one_in(int(np.count_nonzero(hit)), k)
        result[alive[~hit]] = k % 2 == 1
        alive = alive[hit]
        k += 1
    return result


def _bernoulli_exp_of_one(count: int, stream: Keystream) -> Booleans:
    return _bernoulli_exp_of_fraction(np.ones(count, dtype=np.int64), 0, stream)


def _discrete_laplace(count: int, exponent: int, stream: Keystream) -> Integers:
    """At most `count` draws, P[y] proportional to exp(-|y| / 2^exponent); algorithm 2.

    Low part and number of whole scales are drawn apart; of the two zeros one is
    thrown away.
    """
    low = stream.bits(count, exponent)
    low = low[bernoulli_exp(low, exponent, stream)]
    magnitude = low + (_geometric(low.size, stream) << exponent)
    negative = stream.bits(low.size, 1) == 1
    kept = ~(negative & (magnitude == 0))
    signed: Integers = np.where(negative, -magnitude, magnitude)[kept]
    return signed


def _geometric(count: int, stream: Keystream) -> Integers:
    """P[v] = (1 - 1/e) e^-v, int64 [count]."""
    values = np.zeros(count, dtype=np.int64)
    alive = np.arange(count)
    while alive.size:
        alive = alive[_bernoulli_exp_of_one(alive.size, stream)]
        values[alive] += 1
    return values
