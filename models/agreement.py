"""What the silos of a run agree on before its first round, as one hash.

A run that goes on agrees anew, and comes to the same, unless a silo fails just then: a
round would not notice, and train on other windows, items or scores to start from.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from models.vocabulary import Vocabulary

_TAG = "silorec agreement 1"


def agreement_hash(
    vocabulary: Vocabulary, cuts: object, admitted: NDArray[np.bool_] | None
) -> str:
    """SHA-256 of what rounds follow from and no configuration says.

    Args:
        vocabulary: the items, with what is frozen of every model.
        cuts: windows of the global-time protocol, a frozen dataclass; None: none.
        admitted: bool [V], items whose rows are summed; None: all.
    """
    frozen = {
        name: hashlib.sha256(np.ascontiguousarray(tensor).data).hexdigest()
        for name, tensor in sorted(vocabulary.frozen.items())
    }
    rows = "all" if admitted is None else np.packbits(admitted).tobytes().hex()
    parts = (_TAG, vocabulary.sha256, frozen, cuts, rows)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
