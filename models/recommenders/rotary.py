"""Rotary positions: queries and keys turned by angles that grow with their places.

Su et al. 2021, "RoFormer". Products of turned queries and keys depend on how far apart
they are, so nothing needs to be learned of places.

Shape legend: B users, L positions, D width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
