"""Adding uploads, and taking masks off their sum in the same pass over memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.secure_aggregation.masking import Mask, apply_masks

Words = NDArray[np.unsignedinteger]
Room = Callable[[tuple[int, ...], np.dtype[np.unsignedinteger]], Words]

KEPT_BYTES = 2**28
"""Small sums are faster in one pass; a large upload is added when it arrives."""


class RunningSum:
    """The sum of word vectors of one length and ring.

    Uploads are kept as they come, mapped or shared, and added piece by piece at the
    end, while the pieces are in the cache anyway. Beyond `KEPT_BYTES` they are added at
    once: then memory holds one vector, however many silos.

    Args:
        room: gives the vector that holds the sum, for example one mapped from a file.
    """

    def __init__(self, room: Room = np.empty) -> None:
        self._room = room
        self._kept: list[Words] = []
        self._total: Words | None = None

    def add(self, words: Words) -> None:
        """Add `words` [d]; they must not change until the sum is taken."""
        self._kept.append(words)
        if sum(kept.nbytes for kept in self._kept) > KEPT_BYTES:
            self._total, self._kept = self._added(()), []

    def take(self, masks: Sequence[Mask] = (), *, threads: int = 1) -> Words:
        """The sum [d] with `masks` applied, writeable; it is the caller's now.

        Raises:
            ValueError: nothing was added.
        """
        total = self._added(masks, threads)
        self._kept, self._total = [], None
        return total

    def _added(self, masks: Sequence[Mask], threads: int = 1) -> Words:
        if self._total is not None:
            apply_masks(self._total, masks, addends=self._kept, threads=threads)
            return self._total
        if not self._kept:
            raise ValueError("nothing was added")
        first, *others = self._kept
        total = self._room(first.shape, first.dtype)
        apply_masks(total, masks, base=first, addends=others, threads=threads)
        return total
