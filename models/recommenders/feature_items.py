"""Items described by public features: a few trainable numbers instead of a table.

The table of an ID model has V x D parameters, and private training adds noise to each.
Here the items are `features @ projection`, [V, K] times [K, D]: the features are public
and frozen, only the projection learns. It stands where `nn.Embedding` stands in
`SequenceRecommender`, at both ends: items that were read and items that are scored.

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
