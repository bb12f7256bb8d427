"""Which rows of the item table take part in a secure sum, and which never show in it.

A row that only one silo's people touched is, in the sum, that silo's own, and which
rows move tells what they did (Mai et al. 2025, SecEmb, section 1). So silos first
count, securely, how many of them trained on each item; rows below the bound keep their
value and are not even sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.parameters import ParameterLayout


class Selection(Protocol):
    """Which coordinates of an update take part in the sum."""

    @property
    def sha256(self) -> str:
        """Hash of which they are."""

    def left_out(self, start: int, stop: int) -> int:
        """How many of the coordinates start ... stop are not sent."""

    def pick(self, vector: NDArray[np.floating]) -> NDArray[np.floating]:
        """What is sent of `vector` [d]."""

    def spread(self, sent: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """The inverse of `pick` for a vector [size]; what is left out is zero."""


@dataclass(frozen=True, eq=False)
class RowAdmission:
    """The admitted rows of one table inside the flat vector of a model.

    Attributes:
        rows: bool [V].
        start: coordinate at which the table begins.
        width: D, coordinates of a row.
    """

    rows: NDArray[np.bool_]
    start: int
    width: int

    @classmethod
    def of(
        cls, rows: NDArray[np.bool_], layout: ParameterLayout, table: str
    ) -> RowAdmission:
        """The admission of `rows` [V] to the tensor named `table` [V, D]."""
        place = layout.names.index(table)
        before = ParameterLayout(layout.names[:place], layout.shapes[:place])
        return cls(rows, before.size, layout.shapes[place][1])

    @property
    def stop(self) -> int:
        """Coordinate behind the table."""
        return self.start + len(self.rows) * self.width

    @property
    def sha256(self) -> str:
        """Hash of which rows are admitted."""
        return hashlib.sha256(np.packbits(self.rows).data).hexdigest()

    def left_out(self, start: int, stop: int) -> int:
        """How many of the coordinates start ... stop are not sent.

        The range must hold all of the table or nothing of it.
        """
        holds_table = start <= self.start and self.stop <= stop
        return int((~self.rows).sum()) * self.width if holds_table else 0

    def pick(self, vector: NDArray[np.floating]) -> NDArray[np.floating]:
        """What is sent of `vector` [d]: admitted rows and everything beside the table.

        Shape [d - D * (rows left out)].
        """
        table = vector[self.start : self.stop].reshape(-1, self.width)
        return np.concatenate(
            [vector[: self.start], table[self.rows].ravel(), vector[self.stop :]]
        )

    def spread(self, sent: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """The inverse of `pick` for a vector [size]; rows left out are zero."""
        whole = np.zeros(size)
        stop = self.start + int(self.rows.sum()) * self.width
        whole[: self.start] = sent[: self.start]
        table = whole[self.start : self.stop].reshape(-1, self.width)
        table[self.rows] = sent[self.start : stop].reshape(-1, self.width)
        whole[self.stop :] = sent[stop:]
        return whole
