"""Names of items that only holders of a key can connect with the items themselves.

A name is HMAC-SHA256 (RFC 2104) of the item id under a key that the silos share and the
coordinator does not have. Which names more than one silo has is found by a table of
public size in which each silo marks the cells of its names (a Bloom filter of two
hashes, Bloom 1970): summed securely, cells that enough silos marked are all that is
seen. Leaves out the key itself: `tasks/vocabulary/item_key.py`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

NAME_DIGITS = 32
"""128 bits: two of a billion items share a name with probability 1e-21."""

CELL_DIGITS = 5
CELLS = 16**CELL_DIGITS
"""1,048,576: where the other silos have 15,000 items in all, 0.1 % of what a silo alone
stocks is named by chance; with 50,000, 0.8 %: (1 - exp(-2 n / CELLS)) ** 2."""

_NAME, _CHECK = b"silorec item name, version 1\x00", b"silorec item key check\x00"


def item_name(key: bytes, item: str) -> str:
    """The name of an item, 32 hexadecimal digits.

    >>> item_name(bytes(32), "tt0111161") == item_name(bytes(32), "tt0111161")
    True
    >>> item_name(bytes(32), "tt0111161") == item_name(b"1" * 32, "tt0111161")
    False
    """
    digest = hmac.new(key, _NAME + item.encode(), hashlib.sha256)
    return digest.hexdigest()[:NAME_DIGITS]


def key_check(key: bytes) -> str:
    """Tells whether two silos hold the same key, and nothing of a key of 256 bits."""
    return hmac.new(key, _CHECK, hashlib.sha256).hexdigest()


def marked_cells(names: Iterable[str]) -> NDArray[np.int64]:
    """A 1 in the two cells of every name, 0 or 1 in each of [CELLS]."""
    marks = np.zeros(CELLS, dtype=np.int64)
    for name in names:
        marks[list(_cells(name))] = 1
    return marks


def in_cells(names: Iterable[str], admitted: NDArray[np.bool_]) -> tuple[str, ...]:
    """The names whose two cells are both admitted, bool [CELLS]."""
    return tuple(name for name in names if all(admitted[c] for c in _cells(name)))


def _cells(name: str) -> tuple[int, int]:
    # Digits of a name are as good as random, so they need no further hash.
    first, second = name[:CELL_DIGITS], name[CELL_DIGITS : 2 * CELL_DIGITS]
    return int(first, 16), int(second, 16)
