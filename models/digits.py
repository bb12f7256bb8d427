"""Numbers between 0 and 1 that stay exact in a ring too narrow for them.

Each is written as several digits of a base so small that digits of all silos together
fit a word; digits are summed like everything else, and carries are done afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from models.fixed_point import limit_for

PRECISION_BITS = 24


@dataclass(frozen=True)
class Digits:
    """How one number becomes words.

    Attributes:
        num_silos: at most so many numbers are summed.
        ring_bits: width of a word.
    """

    num_silos: int
    ring_bits: int

    @property
    def base(self) -> int:
        """N (base - 1) < 2^(ring_bits - 1): no sum of digits overflows."""
        return limit_for(self.num_silos, self.ring_bits) + 1

    @property
    def count(self) -> int:
        """Digits of a number.

        >>> Digits(5, 32).count, Digits(5, 16).count, Digits(5, 8).count
        (1, 2, 6)
        """
        return ceil(PRECISION_BITS / log2(self.base))

    def encode(self, number: float) -> NDArray[np.unsignedinteger]:
        """Words [count], lowest digit first; beyond 0 ... 1 the nearest bound."""
        whole = round(min(max(number, 0.0), 1.0) * self._one)
        digits = [whole // self.base**place % self.base for place in range(self.count)]
        return np.array(digits, dtype=f"u{self.ring_bits // 8}")

    def decode(self, sums: NDArray[np.signedinteger]) -> float:
        """The sum of the numbers whose digits add up to `sums` [count]."""
        whole = sum(int(digit) * self.base**place for place, digit in enumerate(sums))
        return float(whole / self._one)

    @property
    def _one(self) -> int:
        return int(self.base**self.count) - 1
