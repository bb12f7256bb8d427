"""Long vectors in pieces, so that what is made on the way is never as long as they."""

from __future__ import annotations

from collections.abc import Iterator

CHUNK = 1 << 18  # elements; 2 MiB of float64


def chunks(stop: int, *, start: int = 0, size: int = CHUNK) -> Iterator[slice]:
    """Slices of at most `size` elements that cover start ... stop, in order.

    >>> list(chunks(5, size=2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for lo in range(start, stop, size):
        yield slice(lo, min(lo + size, stop))
