"""Items described by public features: a few trainable numbers instead of a table.

The table of an ID model has V x D parameters, and private training adds noise to each.
Here the items are `features @ projection`, [V, K] times [K, D]: the features are public
and frozen, only the projection learns. It stands where `nn.Embedding` stands in
`SequenceRecommender`, at both ends: items that were read and items that are scored.

With `TableAndFeatureItems` each item may depart from that by a row of its own.

Leaves out: where the features come from.

Shape legend: V items, K features, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureItems(nn.Module):
    """Item vectors that are a linear map of frozen features.

    Attributes:
        features: float [V, K], public; a buffer outside the state dict.
        projection: trainable [K, D].
    """

    features: Tensor

    def __init__(self, features: Tensor, dim: int) -> None:
        super().__init__()
        if features.dim() != 2 or not torch.isfinite(features).all():
            raise ValueError(
                "features must be a matrix [items, features] of finite numbers, "
                f"not of shape {list(features.shape)}"
            )
        self.register_buffer("features", features, persistent=False)
        self.projection = nn.Parameter(features.new_empty(features.shape[1], dim))

    @property
    def weight(self) -> Tensor:
        """The vectors of all items, [V, D]."""
        return self.features @ self.projection

    def forward(self, items: Tensor) -> Tensor:
        """Indices [...] -> vectors [..., D]."""
        return self.features[items] @ self.projection


class TableAndFeatureItems(nn.Module):
    """`FeatureItems` and a row of its own for each item, which begins at zero.

    An item whose row nobody has trained is what its features say. So that projections
    lean less on rows, some of them can be hidden in training, at random and anew for
    each batch (Volkovs et al. 2017, DropoutNet, section 4.2).

    Attributes:
        features: float [V, K], public; a buffer outside the state dict.
        projection: trainable [K, D].
        rows: trainable [V, D].
        hidden: probability that a row is hidden from a training batch.
    """

    features: Tensor
    _shown: Tensor

    def __init__(self, features: Tensor, num_items: int, dim: int, hidden: float):
        super().__init__()
        self.register_buffer("features", features, persistent=False)
        self.projection = nn.Parameter(features.new_empty(features.shape[1], dim))
        self.rows = nn.Parameter(features.new_empty(num_items, dim))
        self.hidden = hidden
        shown = features.new_ones(num_items, 1)
        self.register_buffer("_shown", shown, persistent=False)

    @property
    def weight(self) -> Tensor:
        """The vectors of all items, [V, D]; in training as the last batch read them."""
        rows = self.rows * self._shown if self.training else self.rows
        return self.features @ self.projection + rows

    def forward(self, items: Tensor) -> Tensor:
        """Indices [...] -> vectors [..., D]."""
        rows = self.rows[items]
        if self.training and self.hidden:
            chance = torch.full_like(self._shown, 1 - self.hidden)
            self._shown = torch.bernoulli(chance)
            rows = rows * self._shown[items]
        return self.features[items] @ self.projection + rows
