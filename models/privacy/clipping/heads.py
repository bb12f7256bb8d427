"""Gradients of each user's loss by scores: full or sampled softmax.

A user's loss is the mean over that user's own positions: it must not depend on who
else is in the batch, so no mean over tokens and no in-batch negatives. Shared negatives
that are drawn without looking at data are harmless.

Shape legend: B users, L positions, D width, V items, K scored columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NO_ITEM = -1


@dataclass(frozen=True)
class ScoreGradients:
    """Gradients of every user's loss by the scores of that user's positions.

    Attributes:
        columns: int64 [K] items that are scored at every position; None: all.
        by_column: [B, L, K].
        targets: int64 [B, L], 0 where there is none.
        by_target: [B, L], of the targets' own scores where they are apart from the
            columns; None: they are among them.
    """

    columns: Tensor | None
    by_column: Tensor
    targets: Tensor
    by_target: Tensor | None


def full_softmax(
    hidden: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor
) -> ScoreGradients:
    """Cross entropy over all items.

    Args:
        hidden: [B, L, D].
        table: [V, D].
        bias: [V], added to the scores; None: nothing.
        targets: int64 [B, L]; `NO_ITEM` where there is none.
    """
    weight, own = _weights(targets, hidden.dtype), targets.clamp_min(0)
    scores = hidden @ table.T
    if bias is not None:
        scores += bias
    by_column = scores.softmax(-1).mul_(weight[..., None])
    by_column.scatter_add_(2, own[..., None], -weight[..., None])
    return ScoreGradients(None, by_column, own, None)


def sampled_softmax(
    hidden: Tensor,
    table: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    negatives: Tensor,
) -> ScoreGradients:
    """Cross entropy over the target and `negatives`, int64 [K], drawn uniformly.

    A negative that happens to be the target does not count at that position. Uniform
    negatives need no correction of their scores: it would be the same for all.
    """
    weight, own = _weights(targets, hidden.dtype), targets.clamp_min(0)
    scores = hidden @ table[negatives].T
    positive = (hidden * table[own]).sum(-1)
    if bias is not None:
        scores += bias[negatives]
        positive += bias[own]
    scores.masked_fill_(own[..., None] == negatives, -torch.inf)
    mass = torch.logaddexp(torch.logsumexp(scores, -1), positive)
    by_target = ((positive - mass).exp() - 1) * weight
    by_column = scores.sub_(mass[..., None]).exp_().mul_(weight[..., None])
    return ScoreGradients(negatives, by_column, own, by_target)


def _weights(targets: Tensor, dtype: torch.dtype) -> Tensor:
    """1 / number of the user's targets at each of them, 0 elsewhere, [B, L]."""
    real = (targets != NO_ITEM).to(dtype)
    return real / real.sum(1, keepdim=True).clamp_min(1)
