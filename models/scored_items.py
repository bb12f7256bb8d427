"""Which rows of the item table compete in a silo's loss.

An item that a silo does not stock was never a choice of its people: pushing its row
away, as a softmax over all silos' items does, undoes what the silos that stock it
learn. Leaves out: losses (`models/losses.py`).

Shape legend: V items of the vocabulary, S of them scored.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class ScoredItems:
    """Some items of a vocabulary, and the way from one numbering to the other.

    Attributes:
        rows: int64 [S], ascending indices into the vocabulary.
        places: int64 [V], index into `rows`; -1 for items that are not scored.
    """

    rows: Tensor
    places: Tensor

    @classmethod
    def of(cls, mask: NDArray[np.bool_], device: torch.device) -> ScoredItems:
        """The items of `mask`, bool [V], for tensors on `device`."""
        rows = torch.from_numpy(np.flatnonzero(mask))
        places = torch.full((len(mask),), -1)
        places[rows] = torch.arange(len(rows))
        return cls(rows.to(device), places.to(device))

    @property
    def sha256(self) -> str:
        """Hash of the items scored."""
        return hashlib.sha256(self.rows.cpu().numpy().tobytes()).hexdigest()

    def among(self, table: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The scored rows of `table` [V, D], [S, D], and `targets` [N] in them.

        Args:
            table: item vectors.
            targets: indices into the vocabulary, all of them scored.
        """
        return table.index_select(0, self.rows), self.places[targets]
