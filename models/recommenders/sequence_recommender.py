"""Encodes a history into states and scores items by dot products with them.

What lies between is one of the architectures below; item vectors are the same at both
ends (tied). Trained with cross entropy over the catalogue, which Klenitskiy & Vasilev
2023 found decisive. Leaves out: losses (`models/losses.py`), item features.

Shape legend: B users, L positions, D width, H heads, V items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, repeat
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.dropout import dropped
from models.recommenders.causal_block import CausalBlock
from models.recommenders.hstu import HstuBlock
from models.recommenders.pooled_history import DenseBlock, PooledHistory
from models.recommenders.rotary import rotary_angles

Block = Callable[[int, int, float], nn.Module]
"""(width, heads, dropout) -> [B, L, D], cosines, sines -> [B, L, D]."""

ARCHITECTURES: Mapping[str, tuple[Block, Block]] = {
    "transformer": (CausalBlock, CausalBlock),
    "hstu": (HstuBlock, HstuBlock),
    "two-tower": (PooledHistory, DenseBlock),
}
"""The first block, and all after it."""


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
        recompute: while training, activations inside blocks are computed again for
            the gradient instead of being kept (Chen et al. 2016).
        items: the vectors of items, at both ends.
        item_bias: [V], added to the scores; frozen, no part of the parameters. None:
            nothing is added.
    """

    item_bias: Tensor | None

    def __init__(
        self,
        num_items: int,
        dim: int,
        blocks: int,
        heads: int,
        dropout: float,
        architecture: str = "transformer",
    ) -> None:
        super().__init__()
        self.recompute = False
        self.num_items = num_items
        self.dim = dim
        self.heads = heads
        self.dropout = dropout
        self.items: Items = nn.Embedding(num_items, dim)
        self.register_buffer("item_bias", None, persistent=False)
        first, others = ARCHITECTURES[architecture]
        kinds = chain([first], repeat(others, blocks - 1))
        self.blocks = nn.ModuleList([kind(dim, heads, dropout) for kind in kinds])
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
            if self.recompute and self.training:
                x = checkpoint(block, x, cosine, sine, use_reentrant=False)
            else:
                x = block(x, cosine, sine)
        hidden: Tensor = self.out_norm(x)
        return hidden

    def summary(self, histories: Tensor, lengths: Tensor) -> Tensor:
        """The state after the last item of each history, [B, L], [B] -> [B, D]."""
        hidden = self.encode(histories)
        return hidden[torch.arange(len(hidden)), lengths - 1]

    def score(self, histories: Tensor, lengths: Tensor) -> Tensor:
        """Scores of every item as the next one, [B, L], [B] -> [B, V]."""
        scores = self.summary(histories, lengths) @ self.items.weight.T
        return scores if self.item_bias is None else scores + self.item_bias
