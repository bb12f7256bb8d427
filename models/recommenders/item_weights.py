"""Linear recommenders made of how often two items share a user: EASE and ItemKNN.

Both need nothing but the Gram matrix X^T X of the 0/1 matrix X of users and items: a
plain sum over users, so that a secure sum over silos gives *exactly* the model that
pooled data would give, in one round. A history's scores are the sum of its items' rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.sequences import SequenceData

NEIGHBOURS = 200
# Exact in float32 (no count of a batch comes near 2^24), and small beside V x V.
USERS_PER_PRODUCT = 512


def pair_counts(data: SequenceData, num_items: int) -> NDArray[np.int32]:
    """Users who have both items in their training history: upper triangle of X^T X.

    Args:
        data: a silo's sequences; an item counts once per user.
        num_items: V.

    Returns:
        int32 [V * (V + 1) / 2], row by row, each from the diagonal on.

    >>> import numpy as np
    >>> a, n = np.array([0, 2, 2], np.int32), np.array([-1])
    >>> d = SequenceData(a, np.array([0, 3]), np.array([3]), n, n)
    >>> pair_counts(d, 3).tolist()  # 00 01 02 11 12 22
    [1, 0, 1, 0, 0, 1]
    """
    gram = np.zeros((num_items, num_items), dtype=np.int32)
    for start in range(0, data.num_users, USERS_PER_PRODUCT):
        users = range(start, min(start + USERS_PER_PRODUCT, data.num_users))
        rows = binary_rows([data.training_history(user) for user in users], num_items)
        gram += (rows.T @ rows).astype(np.int32)
    return np.concatenate(
        [np.empty(0, np.int32), *(gram[i, i:] for i in range(num_items))]
    )


def whole_gram(pairs: NDArray[np.integer], num_items: int) -> NDArray[np.float64]:
    """X^T X, float64 [V, V], from its upper triangle [V * (V + 1) / 2]."""
    gram = np.zeros((num_items, num_items))
    start = 0
    for row in range(num_items):
        stop = start + num_items - row
        gram[row, row:] = gram[row:, row] = pairs[start:stop]
        start = stop
    return gram


def binary_rows(
    histories: list[NDArray[np.int32]], num_items: int
) -> NDArray[np.float32]:
    """One row per history, 1 where it holds the item, float32 [B, V]."""
    rows = np.zeros((len(histories), num_items), dtype=np.float32)
    for row, history in zip(rows, histories, strict=True):
        row[history] = 1.0
    return rows


@dataclass(frozen=True)
class ItemWeights:
    """Scores an item by what the items of a history add to it.

    Attributes:
        weights: float32 [V, V]; row i: what item i in a history adds to each score.
    """

    weights: NDArray[np.float32]

    def score(self, histories: list[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores of all items after each history, float32 [B, V]."""
        rows = binary_rows(histories, len(self.weights))
        return np.asarray(rows @ self.weights)


def ease(gram: NDArray[np.float64], regularization: float) -> ItemWeights:
    """B = I - P diag(1 / P_jj), P = (X^T X + lambda I)^-1: Steck 2019, equation 8.

    The least-squares reconstruction of X from X with no item explaining itself.

    Args:
        gram: X^T X, float64 [V, V].
        regularization: lambda, above 0.
    """
    inverse = np.linalg.inv(gram + regularization * np.eye(len(gram)))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return ItemWeights(weights.astype(np.float32))


def item_knn(gram: NDArray[np.float64], neighbours: int = NEIGHBOURS) -> ItemWeights:
    """Cosines of the columns of X, of each item's nearest items (Sarwar et al. 2001).

    Args:
        gram: X^T X, float64 [V, V].
        neighbours: that add to an item's score; those as near as the last one, too.
    """
    lengths = np.sqrt(np.maximum(np.diag(gram), 1.0))
    cosines = gram / lengths / lengths[:, None]
    np.fill_diagonal(cosines, 0.0)
    if neighbours < len(cosines):
        last = np.partition(cosines, -neighbours, axis=0)[-neighbours]
        cosines[cosines < last] = 0.0
    return ItemWeights(cosines.astype(np.float32))
