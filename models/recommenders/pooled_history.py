"""The user tower of a two-tower model: a pooled history and the last item, mixed.

After Covington et al. 2016, "Deep Neural Networks for YouTube Recommendations", section
3.1: averaged item vectors go through a few dense layers to a user vector, whose dot
products with item vectors are scores. The item tower is whatever gives item vectors: a
table, or features. Cheap, also for long histories; what it leaves out is their order.
Left out here: a profile of the user, which no silo has for every user.

Shape legend: B users, L positions, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from models.dropout import dropped


class PooledHistory(nn.Module):
    """Mean of all items so far beside the last one, [B, L, D] -> [B, L, D]."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        del heads  # there is no attention
        self.dropout = dropout
        self.pool_norm = nn.LayerNorm(2 * dim)
        self.pool_out = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Position l pools positions up to l; places play no role."""
        counts = torch.arange(1, x.shape[1] + 1, device=x.device).to(x)
        mean = x.cumsum(dim=1) / counts[:, None]
        out = self.pool_out(self.pool_norm(torch.cat([mean, x], dim=-1)))
        return dropped(out, self.dropout, self.training)


class DenseBlock(nn.Module):
    """A dense layer of the tower with a way around it, [B, L, D] -> [B, L, D]."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        del heads
        self.dropout = dropout
        self.dense_norm = nn.LayerNorm(dim)
        self.dense_in = nn.Linear(dim, 2 * dim)
        self.dense_out = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Each position by itself."""
        hidden = F.gelu(self.dense_in(self.dense_norm(x)))
        return x + dropped(self.dense_out(hidden), self.dropout, self.training)
