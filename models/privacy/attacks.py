"""What an update gives away: items of the people behind it, read off the item table.

The gradient of a softmax over the whole catalogue moves every row of the item table a
little and the rows of items that somebody interacted with a lot. So whoever sees an
update ranks the rows by how far each moved from the middle one; no knowledge of the
model is needed. For demonstrations and tests; nothing in a run calls it. Stronger
attacks exist (Zhang et al. 2023, RAIFLE, arXiv 2310.19163).

Shape legend: B users, L positions, D width, V items, P parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import parameters_to_vector

from models.losses import full_cross_entropy
from models.parameters import layout_of
from models.recommenders.building import ITEM_TABLE
from models.recommenders.sequence_recommender import SequenceRecommender

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class ItemRecovery:
    """How well the rows that moved most name the items that people interacted with.

    Attributes:
        precision: share of people's items among the k rows that moved most, k being
            how many items of theirs there are.
        area: probability that a row of theirs moved more than another row, the area
            under the ROC curve; 0.5 is chance.
        chance: precision of guessing, k / V.
    """

    precision: float
    area: float
    chance: float

    @classmethod
    def of(cls, scores: Floats, touched: Booleans) -> ItemRecovery:
        """The attack's success, given what is true.

        Args:
            scores: float [V], higher for items that the attacker believes in.
            touched: bool [V], items that people interacted with.
        """
        return cls(
            precision_at_k(scores, touched),
            area_under_roc(scores, touched),
            float(touched.mean()),
        )


def row_movement(table_update: NDArray[np.floating]) -> Floats:
    """The attack: distance of each row of [V, D] from the median row, float64 [V].

    >>> row_movement(np.array([[1.0, 0.0], [1.0, 0.0], [4.0, 4.0]]))
    array([0., 0., 5.])
    """
    middle = np.median(table_update, axis=0)
    distances: Floats = np.linalg.norm(table_update.astype(np.float64) - middle, axis=1)
    return distances


def precision_at_k(scores: Floats, touched: Booleans) -> float:
    """Share of touched items among the k best scores, k the number of touched ones.

    >>> precision_at_k(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
    0.5
    """
    k = int(np.count_nonzero(touched))
    best = np.argsort(-scores, kind="stable")[:k]
    return float(touched[best].mean())


def area_under_roc(scores: Floats, touched: Booleans) -> float:
    """P[score of a touched item > score of another], ties counting a half.

    >>> area_under_roc(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
    0.5
    """
    order = np.sort(scores[~touched])
    below = np.searchsorted(order, scores[touched], side="left")
    up_to = np.searchsorted(order, scores[touched], side="right")
    return float((below + up_to).mean() / (2 * order.size))


def touched_items(histories: Iterable[NDArray[np.int32]], num_items: int) -> Booleans:
    """Bool [V]: what somebody interacted with."""
    touched = np.zeros(num_items, dtype=bool)
    for history in histories:
        touched[history] = True
    return touched


def user_gradient(module: SequenceRecommender, history: NDArray[np.int32]) -> Floats:
    """Gradient of one user's mean next-item loss, float64 [P].

    Args:
        module: in evaluation mode, float32.
        history: int32 [L + 1] with L >= 1.
    """
    items = torch.from_numpy(history.astype(np.int64))[None]
    hidden = module.encode(items[:, :-1])[0]  # [L, D]
    table = module.items.weight
    loss = full_cross_entropy(hidden, table, items[0, 1:], torch.float32)
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    return np.asarray(parameters_to_vector(gradients).numpy(), dtype=np.float64)


def gradient_sum(
    module: SequenceRecommender,
    histories: Iterable[NDArray[np.int32]],
    clip_norm: float | None = None,
) -> Floats:
    """What a silo's step sums up, user by user, float64 [P].

    Args:
        module: as in `user_gradient`.
        histories: one for each user.
        clip_norm: L2 bound of each user's gradient; None: nothing is clipped.
    """
    total = np.zeros(layout_of(module).size)
    for history in histories:
        gradient = user_gradient(module, history)
        if clip_norm is not None:
            norm = float(np.linalg.norm(gradient))
            gradient *= min(1.0, clip_norm / norm) if norm else 1.0
        total += gradient
    return total


def item_table_of(
    module: SequenceRecommender, update: NDArray[np.floating]
) -> NDArray[np.floating]:
    """The item table's part of an update [P], as [V, D]."""
    layout = layout_of(module)
    place = layout.names.index(ITEM_TABLE)
    start = sum(int(np.prod(shape)) for shape in layout.shapes[:place])
    rows, width = layout.shapes[place]
    return update[start : start + rows * width].reshape(rows, width)
