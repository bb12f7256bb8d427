"""Causal transformer over item sequences: SASRec body, rotary positions, tied items.

Kang & McAuley 2018 (SASRec) with pre-layer-norm blocks, rotary instead of absolute
positions (Su et al. 2021) and full-catalogue cross entropy, which Klenitskiy &
Vasilev 2023 found decisive. Leaves out: losses (`models/losses.py`), item features.

Shape legend: B users, L positions, D width, H heads, V items.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from models.dropout import dropped

ROTARY_BASE = 10_000.0


def rotary_angles(length: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions (Su et al. 2021, eq. 15), each [L, D/H]."""
    frequency = ROTARY_BASE ** (-torch.arange(0, head_dim, 2) / head_dim)
    angle = torch.arange(length)[:, None] * frequency[None, :]
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair of coordinates of x [B, H, L, D/H] by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine


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


class Items(Protocol):
    """Where item vectors come from: `nn.Embedding`, or something in its place."""

    @property
    def weight(self) -> Tensor:
        """The vectors of all items, [V, D]."""

    def __call__(self, items: Tensor) -> Tensor:
        """Indices [...] -> vectors [..., D]."""


class SequenceRecommender(nn.Module):
    """Encodes a history; scores are dot products with the tied item table.

    Attributes:
        num_items: V.
        items: the vectors of items, at both ends.
        item_bias: [V], added to the scores; frozen, no part of the parameters. None:
            nothing is added.
    """

    item_bias: Tensor | None

    def __init__(
        self, num_items: int, dim: int, blocks: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.num_items = num_items
        self.dim = dim
        self.heads = heads
        self.dropout = dropout
        self.items: Items = nn.Embedding(num_items, dim)
        self.register_buffer("item_bias", None, persistent=False)
        self.blocks = nn.ModuleList(
            [CausalBlock(dim, heads, dropout) for _ in range(blocks)]
        )
        self.out_norm = nn.LayerNorm(dim)

    def initialise(self, generator: torch.Generator) -> None:
        """Xavier-normal matrices, zero biases, unit norms; drawn from `generator`."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter, generator=generator)
            elif name.endswith("norm.weight"):
                nn.init.ones_(parameter)
            else:
                nn.init.zeros_(parameter)

    def set_item_bias(self, item_bias: Tensor | None) -> None:
        """Add `item_bias` [V] to all scores from now on; None: nothing."""
        self.item_bias = item_bias

    def encode(self, histories: Tensor) -> Tensor:
        """Right-padded item indices [B, L] -> hidden states [B, L, D].

        The state at position l summarises items 0..l; it predicts item l + 1.
        """
        return self.transform(self.items(histories))

    def transform(self, vectors: Tensor) -> Tensor:
        """Vectors of the items read [B, L, D] -> hidden states [B, L, D]."""
        x = dropped(vectors * self.dim**0.5, self.dropout, self.training)
        angles = rotary_angles(vectors.shape[1], self.dim // self.heads)
        cosine, sine = (angle.to(x) for angle in angles)
        for block in self.blocks:
            x = block(x, cosine, sine)
        hidden: Tensor = self.out_norm(x)
        return hidden

    def score(self, histories: Tensor, lengths: Tensor) -> Tensor:
        """Scores of every item as the next one, [B, L], [B] -> [B, V]."""
        hidden = self.encode(histories)
        last = hidden[torch.arange(len(hidden)), lengths - 1]  # [B, D]
        scores = last @ self.items.weight.T
        return scores if self.item_bias is None else scores + self.item_bias
