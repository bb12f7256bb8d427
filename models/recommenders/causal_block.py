"""The transformer block: attention over what came before, then a feed-forward layer.

Kang & McAuley 2018 (SASRec) with pre-layer-norm and rotary instead of absolute
positions (Su et al. 2021).

Shape legend: B users, L positions, D width, H heads.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from models.dropout import dropped
from models.recommenders.rotary import rotate


class CausalBlock(nn.Module):
    """Pre-layer-norm attention and feed-forward, [B, L, D] -> [B, L, D]."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward_in = nn.Linear(dim, dim)
        self.feed_forward_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """One block; position l sees positions up to l."""
        x = x + self._thin(self._attend(self.attention_norm(x), cosine, sine))
        hidden = F.gelu(self.feed_forward_in(self.feed_forward_norm(x)))
        return x + self._thin(self.feed_forward_out(self._thin(hidden)))

    def _attend(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, length, dim = x.shape
        split = self.query_key_value(x).view(batch, length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [B, H, L, D/H]
        attended = F.scaled_dot_product_attention(
            rotate(query, cosine, sine),
            rotate(key, cosine, sine),
            value,
            is_causal=True,  # no dropout here: it would force the slow kernel
        )
        merged = attended.transpose(1, 2).reshape(batch, length, dim)
        out: Tensor = self.attention_out(merged)
        return out

    def _thin(self, x: Tensor) -> Tensor:
        return dropped(x, self.dropout, self.training)
