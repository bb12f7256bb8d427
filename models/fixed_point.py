"""Signed fixed point: floats and counts as words of the ring Z_2^32, and back.

A float x becomes the integer nearest to x * limit / clip, stored in two's complement,
so that adding words modulo 2^32 adds the integers. At that width the rounding error is
that of a float32 sum (Bonawitz et al. 2017, section 6 quantise the same way). The
rings Z_2^16 and Z_2^8 send a half and a quarter of the bytes; they round at random, up
or down, so that errors have mean zero (Alistarh et al. 2017, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ConfigError, NotFiniteError, SiloInputError

Words = NDArray[np.unsignedinteger]
Dither = Callable[[int], NDArray[np.float64]]

RING_BITS = 32
RINGS = (8, 16, 32)
_CHUNK = 32_768  # elements; 256 KiB of float64 stay in the second-level cache


def limit_for(num_silos: int, ring_bits: int = RING_BITS) -> int:
    """The largest integer whose sum over `num_silos` silos cannot overflow.

    Proof: every encoded integer q has |q| <= limit = floor((2^(r-1) - 1) / n), so any
    sum over at most n silos has |sum| <= 2^(r-1) - 1, and two's complement in Z_2^r
    holds -2^(r-1) ... 2^(r-1) - 1: the residue read as signed *is* the sum.

    >>> [limit_for(n) for n in (1, 4, 1000)], limit_for(5, 16), limit_for(5, 8)
    ([2147483647, 536870911, 2147483], 6553, 25)

    Raises:
        ConfigError: no silo, or so many that the ring cannot hold one bit of each.
    """
    if ring_bits not in RINGS:
        raise ConfigError(f"ring_bits {ring_bits} must be one of 8, 16 and 32")
    largest_sum = (1 << (ring_bits - 1)) - 1
    if not 1 <= num_silos <= largest_sum:
        raise ConfigError(
            f"num_silos {num_silos} must lie between 1 and {largest_sum} in a ring of "
            f"{ring_bits} bits; raise secure_aggregation.ring_bits"
        )
    return largest_sum // num_silos


def signed(words: Words) -> NDArray[np.signedinteger]:
    """The same memory read as two's complement."""
    return words.view(f"i{words.itemsize}")


@dataclass(frozen=True)
class FixedPoint:
    """The agreed translation between floats and ring words.

    Attributes:
        clip: coordinates are clipped to [-clip, clip].
        limit: the integer that stands for `clip`; `limit_for` gives it.
        ring_bits: width of a word.
    """

    clip: float
    limit: int
    ring_bits: int = RING_BITS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise ConfigError(f"clip {self.clip} must be a finite number above 0")
        largest = limit_for(1, self.ring_bits)
        if not 1 <= self.limit <= largest:
            raise ConfigError(f"limit {self.limit} must lie between 1 and {largest}")

    @classmethod
    def of(cls, clip: float, num_silos: int, ring_bits: int = RING_BITS) -> FixedPoint:
        """The finest one whose sum over `num_silos` silos cannot overflow."""
        return cls(clip, limit_for(num_silos, ring_bits), ring_bits)

    @property
    def resolution(self) -> float:
        """The float that the integer 1 stands for."""
        return self.clip / self.limit

    def empty(self, length: int) -> Words:
        """Room for [length] words."""
        return np.empty(length, dtype=f"u{self.ring_bits // 8}")

    def encode(
        self,
        x: NDArray[np.floating],
        *,
        scale: float = 1.0,
        dither: Dither | None = None,
        out: Words | None = None,
    ) -> tuple[Words, int]:
        """(ring words [d], how many lay half a step or more beyond the clip).

        Args:
            x: float32 or float64 [d].
            scale: 0 or above; what is encoded is `scale * x`.
            dither: gives as many numbers, uniform in [0, 1), as it is asked for; they
                round up or down at random. None: to the nearest integer.
            out: where the words go; may be mapped from a file.

        Raises:
            NotFiniteError: `x` holds NaN or infinity; nothing may be sent.
        """
        words = self.empty(x.size) if out is None else out
        bound = self.clip / scale if scale else math.inf
        scratch = np.empty(min(_CHUNK, x.size))
        clipped = 0
        for lo in range(0, x.size, _CHUNK):
            part = x[lo : lo + _CHUNK]
            scaled = scratch[: part.size]
            scaled[:] = part
            # Overflow to infinity is a coordinate beyond the bound, not a surprise.
            with np.errstate(over="ignore"):
                scaled *= scale * self.limit / self.clip
            # NaN fails both comparisons, so it takes the slow branch as well.
            # As Python floats: a float32 would round the bound.
            if not (-bound <= float(part.min()) <= float(part.max()) <= bound):
                _require_finite(part)
                beyond = np.abs(scaled) >= self.limit + 0.5
                clipped += int(np.count_nonzero(beyond))
                np.clip(scaled, -self.limit, self.limit, out=scaled)
            if dither is None:
                np.rint(scaled, out=scaled)
            else:
                scaled += dither(part.size)
                np.floor(scaled, out=scaled)
                np.minimum(scaled, self.limit, out=scaled)
            signed(words[lo : lo + _CHUNK])[:] = scaled
        return words, clipped

    def decode(
        self,
        total: NDArray[np.signedinteger],
        out: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Signed integer sums [d] -> float64 [d], into `out` if there is room."""
        floats: NDArray[np.float64] = np.multiply(
            total, self.resolution, out=out, dtype=np.float64
        )
        return floats


def encode_counts(counts: NDArray[np.integer], num_silos: int) -> NDArray[np.uint32]:
    """Exact integers [d] -> uint32 words [d], for a sum over `num_silos` silos.

    Raises:
        SiloInputError: a count is so large that the sum over all silos might not fit.
    """
    largest = limit_for(num_silos)
    if counts.size and not (-largest <= counts.min() and counts.max() <= largest):
        raise SiloInputError(
            f"a count is beyond +-{largest}, the most that {num_silos} silos can sum "
            f"exactly in {RING_BITS} bits; count something coarser"
        )
    return counts.astype(np.int32).view(np.uint32)


def decode_counts(total: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """Signed integer sums [d] are the summed counts [d]."""
    return np.asarray(total, dtype=np.int64)


def _require_finite(part: NDArray[np.floating]) -> None:
    if not np.isfinite(part).all():
        raise NotFiniteError(
            "the vector holds NaN or infinity and nothing was encoded; lower the "
            "learning rate or look for broken input"
        )
