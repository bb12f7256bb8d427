"""Losses; full-catalogue cross entropy without ever holding all logits.

The plain form keeps [N, V] logits, their softmax and its gradient. This one walks
over N in chunks that fit the cache, computes each chunk's gradient at once and keeps
only sums of the size of its inputs (the idea of Wijmans et al. 2024, "Cut Your Losses
in Large-Vocabulary Language Models", without the kernel).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CHUNK_ROWS = 1024


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
        # Two buffers for all chunks: fresh ones each time would tear the heap to
        # pieces, and a silo's memory would grow to several times what it uses.
        rows = min(CHUNK_ROWS, len(targets))
        wide = hidden.new_empty((rows, len(table)))
        low = wide.new_empty(wide.shape, dtype=product)
        for start in range(0, len(targets), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            hidden_low, target = hidden[chunk].to(product), targets[chunk, None]
            weight, weight_low = wide[: len(target)], low[: len(target)]  # [rows, V]
            torch.mm(hidden_low, table_low.T, out=weight_low)
            logits = weight.copy_(weight_low)
            own = logits.gather(1, target)
            top = logits.amax(dim=1, keepdim=True)
            weight = logits.sub_(top).exp_()
            mass = weight.sum(dim=1, keepdim=True)
            loss += (mass.log() + top - own).sum()
            weight.mul_(scale / mass)  # softmax / N
            weight.scatter_add_(1, target, torch.full_like(own, -scale))
            weight_low.copy_(weight)
            hidden_grad[chunk] = weight_low @ table_low
            table_grad += weight_low.T @ hidden_low
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
