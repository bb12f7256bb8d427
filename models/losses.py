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
        for start in range(0, len(targets), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            hidden_low = hidden[rows].to(product)
            logits = (hidden_low @ table_low.T).float()  # [chunk, V]
            target = targets[rows, None]
            log_total = logits.logsumexp(dim=1, keepdim=True)
            loss += (log_total - logits.gather(1, target)).sum()
            residual = logits.sub_(log_total).exp_()  # softmax, in place
            residual.scatter_add_(1, target, -torch.ones_like(log_total))
            residual_low = residual.mul_(scale).to(product)
            hidden_grad[rows] = (residual_low @ table_low).float()
            table_grad += (residual_low.T @ hidden_low).float()
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
