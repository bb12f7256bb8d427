"""Losses; full-catalogue cross entropy without ever holding all logits.

The plain form keeps [N, V] logits, their softmax and its gradient. This one walks
over N in chunks that fit the cache, computes each chunk's gradient at once and keeps
only sums of the size of its inputs (the idea of Wijmans et al. 2024, "Cut Your Losses
in Large-Vocabulary Language Models", without the kernel).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CHUNK_ROWS = 1024
# Products have a multiple of this many rows. oneDNN keeps a compiled kernel for every
# shape it has seen; a new shape at each batch would grow a silo by megabytes a second.
ROW_STEP = 256


def _whole_steps(rows: int) -> int:
    return -(-rows // ROW_STEP) * ROW_STEP


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross entropy of `hidden @ table.T` against `targets`, gradient included."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, targets: Tensor, product: torch.dtype
    ) -> Tensor:
        scale = 1.0 / max(len(targets), 1)
        table_low = table.to(product)
        hidden_grad = torch.empty_like(hidden)
        table_grad = torch.zeros_like(table)
        loss = hidden.new_zeros(())
        # The same two buffers for all chunks: fresh ones tear the heap to pieces.
        rows = min(CHUNK_ROWS, _whole_steps(len(targets)))
        wide = hidden.new_empty((rows, len(table)))
        low = wide.new_empty(wide.shape, dtype=product)
        hidden_low = low.new_zeros((rows, hidden.shape[1]))
        for start in range(0, len(targets), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            target = targets[chunk, None]
            real, padded = len(target), _whole_steps(len(target))
            hidden_low[:real].copy_(hidden[chunk])
            hidden_low[real:] = 0.0
            torch.mm(hidden_low[:padded], table_low.T, out=low[:padded])  # logits
            weight = wide[:real].copy_(low[:real])
            own = weight.gather(1, target)
            top = weight.amax(dim=1, keepdim=True)
            weight.sub_(top).exp_()
            mass = weight.sum(dim=1, keepdim=True)
            loss += (mass.log() + top - own).sum()
            weight.mul_(scale / mass)  # softmax / N
            weight.scatter_add_(1, target, torch.full_like(own, -scale))
            low[:real].copy_(weight)
            low[real:] = 0.0
            hidden_grad[chunk] = (low[:padded] @ table_low)[:real]
            table_grad += low[:padded].T @ hidden_low[:padded]
        ctx.save_for_backward(hidden_grad, table_grad)
        return loss * scale

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, None, None]:
        hidden_grad, table_grad = ctx.saved_tensors
        return hidden_grad * grads[0], table_grad * grads[0], None, None


def full_cross_entropy(
    hidden: Tensor, table: Tensor, targets: Tensor, product: torch.dtype
) -> Tensor:
    """Mean cross entropy over the whole catalogue, in nats.

    Args:
        hidden: float32 [N, D], one state per target.
        table: float32 [V, D], the item table.
        targets: int64 [N], indices into V.
        product: dtype of the matrix products; sums stay in float32.

    Returns:
        A scalar; 0 for N = 0.
    """
    apply: Callable[..., Tensor] = _ChunkedCrossEntropy.apply
    return apply(hidden, table, targets, product)


def sampled_cross_entropy(
    hidden: Tensor, table: Tensor, targets: Tensor, negatives: Tensor
) -> Tensor:
    """Mean cross entropy against sampled items, corrected for the sampling, in nats.

    A uniform sample of m of V items stands for all others of a target: in expectation
    their exponentials sum up to m / V of the whole, so log(V / m) is added to their
    scores (Bengio & Senecal 2008; the logQ correction of Yi et al. 2019 for a uniform
    Q). Where a target is in the sample it does not compete with itself.

    Args:
        hidden: float32 [N, D], one state per target.
        table: float32 [V, D], the item table.
        targets: int64 [N], indices into V.
        negatives: int64 [m], distinct indices into V, drawn uniformly.

    Returns:
        A scalar; 0 for N = 0.
    """
    if not len(targets):
        return (hidden.sum() + table.sum()) * 0.0
    own = (hidden * table[targets]).sum(dim=1, keepdim=True)  # [N, 1]
    others = hidden @ table[negatives].T + math.log(len(table) / len(negatives))
    others = others.masked_fill(targets[:, None] == negatives, -math.inf)
    both = torch.cat([own, others], dim=1)  # [N, 1 + m]
    return (both.logsumexp(dim=1) - own[:, 0]).mean()
