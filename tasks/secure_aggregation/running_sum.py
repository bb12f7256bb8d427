"""Adding uploads as they arrive: one vector, however many silos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.unsignedinteger]
Room = Callable[[tuple[int, ...], np.dtype[np.unsignedinteger]], Words]


class RunningSum:
    """The sum of word vectors of one length and ring.

    Args:
        room: gives the vector that holds the sum, for example one mapped from a file.
    """

    def __init__(self, room: Room = np.empty) -> None:
        self._room = room
        self._first: Words | None = None
        self._total: Words | None = None

    def add(self, words: Words) -> None:
        """Add `words` [d]; the very first are kept until the second come.

        So a sum of two takes one pass over memory where zeroing, adding and adding
        would take three.
        """
        if self._total is not None:
            np.add(self._total, words, out=self._total)
        elif self._first is None:
            self._first = words
        else:
            self._total = self._room(words.shape, words.dtype)
            np.add(self._first, words, out=self._total)
            self._first = None

    def take(self) -> Words:
        """The sum [d], writeable; it is the caller's now.

        Raises:
            ValueError: nothing was added.
        """
        if self._total is None:
            if self._first is None:
                raise ValueError("nothing was added")
            self._total = self._room(self._first.shape, self._first.dtype)
            np.copyto(self._total, self._first)
        total, self._first, self._total = self._total, None, None
        return total
