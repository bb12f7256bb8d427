"""Hierarchical sequential transduction unit: attention without a softmax, and gated.

Zhai et al. 2024, "Actions Speak Louder than Words" (HSTU), section 3, equations 1 to
3. Items of a history add up instead of competing for attention, so how often and how
much is kept; a gate takes the place of the feed-forward layer. Positions are rotary
here, where the paper adds a learned bias.

Shape legend: B users, L positions, D width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from models.dropout import dropped
from models.recommenders.rotary import rotate


class HstuBlock(nn.Module):
    """Gated pointwise attention, [B, L, D] -> [B, L, D]."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.gate_value_query_key = nn.Linear(dim, 4 * dim)
        self.gate_norm = nn.LayerNorm(dim)
        self.gate_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """One block; position l sees positions up to l."""
        batch, length, dim = x.shape
        mixed = F.silu(self.gate_value_query_key(self.attention_norm(x)))  # eq. 1
        gate, *parts = mixed.chunk(4, dim=-1)
        value, query, key = (
            part.view(batch, length, self.heads, -1).transpose(1, 2) for part in parts
        )  # each [B, H, L, D/H]
        weight = F.silu(
            rotate(query, cosine, sine) @ rotate(key, cosine, sine).transpose(-1, -2)
        )
        seen = torch.ones(length, length, device=x.device).tril().to(weight)
        # By the number of items seen, not of the batch: padding changes nothing.
        weight = weight * (seen / seen.sum(dim=1, keepdim=True))
        attended = (weight @ value).transpose(1, 2).reshape(batch, length, dim)  # eq. 2
        out = self.gate_out(self.gate_norm(attended) * gate)  # eq. 3
        return x + dropped(out, self.dropout, self.training)
