"""Shamir's secret sharing over GF(2^256 + 297) (PROTOCOL.md, 6).

The field is the smallest prime field that holds every 256-bit secret. Which shares
are genuine is the caller's question: commitments answer it, not this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from data_contracts.secure_aggregation import SHARE_BYTES
from tasks.secure_aggregation.keys import RandomBytes

PRIME = 2**256 + 297

# 384 random bits reduced modulo a 257-bit prime are uniform up to 2^-127.
_COEFFICIENT_BYTES = 48


def split(
    secret: bytes, threshold: int, seats: Sequence[int], random_bytes: RandomBytes
) -> list[bytes]:
    """One share of 33 bytes for each seat; any `threshold` of them give the secret.

    Args:
        secret: 32 bytes.
        threshold: t; t - 1 shares are uniform whatever the secret.
        seats: distinct coordinates from 1; at 0 lies the secret itself.
        random_bytes: source of the polynomial.
    """
    assert len(set(seats)) == len(seats)
    assert all(0 < x < PRIME for x in seats)
    assert 1 <= threshold <= len(seats)
    coefficients = [
        int.from_bytes(random_bytes(_COEFFICIENT_BYTES)) % PRIME
        for _ in range(threshold - 1)
    ]
    polynomial = [*coefficients, int.from_bytes(secret)]
    return [_evaluate(polynomial, x).to_bytes(SHARE_BYTES) for x in seats]


def combine(shares: Mapping[int, bytes]) -> bytes | None:
    """The secret behind `shares` (seat -> share), by Lagrange's formula at 0.

    Returns:
        32 bytes; None if the shares do not lie on a polynomial of a 32-byte secret.
        Too few or wrong shares give a wrong secret: compare with its commitment.
    """
    weights = _weights_at_zero(tuple(shares))
    parts = zip(weights, shares.values(), strict=True)
    secret = sum(w * int.from_bytes(share) for w, share in parts) % PRIME
    return secret.to_bytes(32) if secret < 2**256 else None


def _evaluate(polynomial: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in polynomial:
        value = (value * x + coefficient) % PRIME
    return value


@lru_cache(maxsize=16)
def _weights_at_zero(seats: tuple[int, ...]) -> tuple[int, ...]:
    """Product over j != i of x_j / (x_j - x_i); the same for every secret."""
    weights = []
    for x in seats:
        above, below = 1, 1
        for other in seats:
            if other != x:
                above = above * other % PRIME
                below = below * (other - x) % PRIME
        weights.append(above * pow(below, -1, PRIME) % PRIME)
    return tuple(weights)
