"""Numbers as a person reads them: bytes, seconds, shares, hashes."""

from __future__ import annotations

import math

MISSING = "\N{EN DASH}"
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")


def byte_unit(largest: float) -> tuple[float, str]:
    """Divisor and name of the decimal unit that suits `largest` bytes.

    Example:
        >>> byte_unit(4_200_000)
        (1000000.0, 'MB')
    """
    power = min(int(math.log10(max(largest, 1)) // 3), len(_BYTE_UNITS) - 1)
    return 1000.0**power, _BYTE_UNITS[power]


def in_bytes(count: float) -> str:
    """Example: `in_bytes(4_200_000)` is `4.2 MB`."""
    size, unit = byte_unit(count)
    return f"{count / size:.3g} {unit}" if unit == "B" else f"{count / size:.1f} {unit}"


def in_seconds(seconds: float) -> str:
    """Example: `in_seconds(75.2)` is `1 min 15 s`.

    >>> in_seconds(3.21), in_seconds(75.2), in_seconds(7300)
    ('3.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def in_moments(seconds: float) -> str:
    """Example: `in_moments(0.0213)` is `21 ms`.

    >>> in_moments(0.0004), in_moments(0.0213), in_moments(3.21)
    ('0.4 ms', '21 ms', '3.2 s')
    """
    if seconds < 0.01:
        return f"{1000 * seconds:.1f} ms"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else in_seconds(seconds)


def in_percent(share: float | None) -> str:
    """A signed change: `in_percent(0.333)` is `+33.3 %`."""
    return (
        MISSING
        if share is None
        else f"{100 * share:+.1f} %".replace("-", "\N{MINUS SIGN}")
    )


def figure(value: float | None, digits: int = 4) -> str:
    """A metric with fixed digits, or the sign for "not there"."""
    return MISSING if value is None else f"{value:.{digits}f}"


def short_hash(text: str) -> str:
    """The first twelve characters: enough to recognise, not to verify."""
    return text[:12] or MISSING
