"""Signed fixed point: floats and counts as words of the ring Z_2^32, and back.

A float x becomes the integer rint(x * limit / clip), limit = 2^(bits-1) - 1, stored
in two's complement, so that adding words modulo 2^32 adds the integers. Rounding is
deterministic: at these widths its error is that of a float32 sum (Bonawitz et al.
2017, section 6 quantise the same way). Left out: 16-bit rings, which would need
stochastic rounding, and 64-bit rings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ConfigError, NotFiniteError, SiloInputError

Words = NDArray[np.uint32]

RING_BITS = 32
_LARGEST_SUM = 2 ** (RING_BITS - 1) - 1
_CHUNK = 32_768  # elements; 256 KiB of float64 stay in the second-level cache


def bits_for(num_silos: int) -> int:
    """Widest fixed point whose sum over `num_silos` silos cannot overflow.

    The largest b with n * (2^(b-1) - 1) < 2^31. Proof that this suffices: every
    encoded integer q has |q| <= 2^(b-1) - 1, so any sum over at most n silos has
    |sum| <= n * (2^(b-1) - 1) <= 2^31 - 1, and two's complement in Z_2^32 holds
    -2^31 ... 2^31 - 1: the residue read as signed *is* the sum.

    >>> [bits_for(n) for n in (1, 2, 4, 100, 1000)]
    [32, 31, 30, 25, 22]

    Raises:
        ConfigError: no silo, or so many that not even two bits remain.
    """
    largest_of_one = _largest_of_one(num_silos)
    return (largest_of_one + 1).bit_length()


@dataclass(frozen=True)
class FixedPoint:
    """The agreed translation between floats and ring words.

    Attributes:
        clip: coordinates are clipped to [-clip, clip].
        bits: width of one encoded integer, sign included; `bits_for` gives it.
    """

    clip: float
    bits: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise ConfigError(f"clip {self.clip} must be a finite number above 0")
        if not 2 <= self.bits <= RING_BITS:
            raise ConfigError(f"bits {self.bits} must lie between 2 and {RING_BITS}")

    @property
    def limit(self) -> int:
        """The integer that stands for `clip`."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def resolution(self) -> float:
        """The float that the integer 1 stands for."""
        return self.clip / self.limit

    def encode(self, x: NDArray[np.floating]) -> tuple[Words, int]:
        """(uint32 words [d], how many coordinates lay beyond the clip bound).

        Args:
            x: float32 or float64 [d].

        Raises:
            NotFiniteError: `x` holds NaN or infinity; nothing was encoded.
        """
        words = np.empty(x.size, dtype=np.uint32)
        scratch = np.empty(min(_CHUNK, x.size))
        clipped = 0
        for lo in range(0, x.size, _CHUNK):
            part = x[lo : lo + _CHUNK]
            scaled = scratch[: part.size]
            scaled[:] = part
            # Overflow to infinity is a coordinate beyond the bound, not a surprise.
            with np.errstate(over="ignore"):
                scaled *= self.limit / self.clip
            np.rint(scaled, out=scaled)
            # NaN fails both comparisons, so it takes the slow branch as well.
            # As Python floats: a float32 would round the bound.
            if not (-self.clip <= float(part.min()) <= float(part.max()) <= self.clip):
                _require_finite(part)
                clipped += int(np.count_nonzero(np.abs(scaled) > self.limit))
                np.clip(scaled, -self.limit, self.limit, out=scaled)
            words[lo : lo + _CHUNK].view(np.int32)[:] = scaled
        return words, clipped

    def decode(self, total: NDArray[np.signedinteger]) -> NDArray[np.float64]:
        """Signed integer sums [d] -> float64 [d]."""
        floats: NDArray[np.float64] = np.multiply(
            total, self.resolution, dtype=np.float64
        )
        return floats


def encode_counts(counts: NDArray[np.integer], num_silos: int) -> Words:
    """Exact integers [d] -> uint32 words [d], for a sum over `num_silos` silos.

    Raises:
        SiloInputError: a count is so large that the sum over all silos might not fit.
    """
    largest = _largest_of_one(num_silos)
    if counts.size and not (-largest <= counts.min() and counts.max() <= largest):
        raise SiloInputError(
            f"a count is beyond +-{largest}, the most that {num_silos} silos can sum "
            f"exactly in {RING_BITS} bits; count something coarser"
        )
    return counts.astype(np.int32).view(np.uint32)


def decode_counts(total: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """Signed integer sums [d] are the summed counts [d]."""
    return np.asarray(total, dtype=np.int64)


def _largest_of_one(num_silos: int) -> int:
    if not 1 <= num_silos <= _LARGEST_SUM:
        raise ConfigError(f"num_silos {num_silos} must lie between 1 and 2^31 - 1")
    return int(_LARGEST_SUM // num_silos)


def _require_finite(part: NDArray[np.floating]) -> None:
    if not np.isfinite(part).all():
        raise NotFiniteError(
            "the vector holds NaN or infinity and nothing was encoded; lower the "
            "learning rate or look for broken input"
        )
