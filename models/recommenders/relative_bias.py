"""A learned addition to attention scores that depends on how far apart items are.

After Raffel et al. 2020 (T5), section 2.1, and Zhai et al. 2024 (HSTU), section 3.2:
distances in position or time fall into buckets, each with one number per head.

Shape legend: B users, L positions, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RelativeBias(nn.Module):
    """Buckets [B, L, L] -> addition to attention scores [B, H, L, L]."""

    def __init__(self, buckets: int, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(buckets, heads))

    def forward(self, buckets: Tensor) -> Tensor:
        """The addition for each pair of positions.

        Args:
            buckets: int64 [B, L, L]; one matrix per user, also if all are the same
                (`expand` costs nothing), so that each user's gradient can be told.
        """
        return self.weight[buckets].permute(0, 3, 1, 2)
