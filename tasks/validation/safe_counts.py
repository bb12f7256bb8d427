"""Counts of rows, coarse enough to leave a silo.

A count below ten could single out people, so it is not told. Larger counts keep two
significant digits: two snapshots that differ by one row rarely differ in print. This
is discretion, not differential privacy; no guarantee is claimed.
"""

from __future__ import annotations

FEWEST_SHOWN = 10
NOT_COUNTED = ""


def safe_count(count: int | None) -> str:
    """`count` rows in words that may leave the silo.

    Args:
        count: rows, from 0; None where rows were not or could not be counted.

    >>> [safe_count(count) for count in (0, 1, 9, 10, 99, 104, 12_345)]
    ['0', 'fewer than 10', 'fewer than 10', '10', '99', '100', '12000']
    >>> safe_count(None)
    ''
    """
    if count is None:
        return NOT_COUNTED
    if count == 0:
        return "0"
    if count < FEWEST_SHOWN:
        return f"fewer than {FEWEST_SHOWN}"
    return str(round(count, 2 - len(str(count))))
