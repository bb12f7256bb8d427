"""Dropout whose random bits are cheap on a CPU.

torch draws one 32-bit number per element; here one 64-bit draw gives eight elements
a byte each. The keep probability is a multiple of 1/256, and kept elements are scaled
by its exact inverse, so the expectation is unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

BYTE_VALUES = 256
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def dropped(x: Tensor, probability: float, training: bool) -> Tensor:
    """Zero elements of x with `probability` (rounded to 1/256), scale the others."""
    if not training or probability == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, probability)
    keep = max(1, round((1.0 - probability) * BYTE_VALUES))
    draws = torch.randint(INT64_MIN, INT64_MAX, ((x.numel() + 7) // 8,))
    kept = draws.view(torch.uint8)[: x.numel()].view(x.shape) < keep
    return x * (kept * (BYTE_VALUES / keep))
