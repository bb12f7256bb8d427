"""The best items for many people at once, without what they have seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.recommenders.sequence_recommender import SequenceRecommender
from models.sequences import right_padded

Items = NDArray[np.int32]
Top = tuple[NDArray[np.int32], NDArray[np.float32]]
"""(items [B, k], scores [B, k]), the best first; items are -1 where fewer compete."""

NOBODY = -1


def best_items(
    module: SequenceRecommender,
    histories: Sequence[Items],
    allowed: Tensor,
    k: int,
    *,
    context: int,
    exclude_seen: bool,
) -> Top:
    """Rank all allowed items after each history.

    Args:
        module: in evaluation mode.
        histories: item indices of B people, the oldest first; none is empty.
        allowed: bool [V], on the module's device.
        k: how many items.
        context: the model reads so many last items of a history.
        exclude_seen: leave out every item of a person's whole history.
    """
    device = allowed.device
    items, lengths = right_padded([history[-context:] for history in histories])
    with torch.inference_mode():
        scores = module.score(
            torch.from_numpy(items).to(device), torch.from_numpy(lengths).to(device)
        ).float()  # [B, V]
        scores.masked_fill_(~allowed, -torch.inf)
        if exclude_seen:
            sizes = [len(history) for history in histories]
            rows = torch.arange(len(histories)).repeat_interleave(torch.tensor(sizes))
            seen = torch.from_numpy(np.concatenate(histories).astype(np.int64))
            scores[rows.to(device), seen.to(device)] = -torch.inf
        return _top(scores, k)


def popular_items(counts: NDArray[np.integer], allowed: Tensor, k: int) -> Top:
    """The allowed items that were used most, for people without a history: B = 1.

    Args:
        counts: of uses [V].
        allowed: bool [V].
        k: how many items.
    """
    shares = torch.from_numpy(np.log((counts + 1.0) / (counts + 1.0).sum())).float()
    scores = shares.masked_fill(~allowed.cpu(), -torch.inf)
    return _top(scores[None, :], k)


def _top(scores: Tensor, k: int) -> Top:
    k = min(k, scores.shape[1])
    values, found = torch.topk(scores, k, dim=1)
    items = found.to(torch.int32).masked_fill(values == -torch.inf, NOBODY)
    return items.cpu().numpy(), values.cpu().numpy()
