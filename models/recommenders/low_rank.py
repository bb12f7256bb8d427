"""Low-rank adaptation of a frozen layer (Hu et al. 2022, LoRA, section 4.1)."""

from __future__ import annotations

from torch import Tensor, nn


class LowRankLinear(nn.Module):
    """`base(x) + up(down(x))`: only the two thin maps learn.

    Attributes:
        base: frozen, [p] -> [q].
        down: [p] -> [rank].
        up: [rank] -> [q]; starts at zero, so that nothing changes at first.
    """

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """X [..., p] -> [..., q]."""
        out: Tensor = self.base(x) + self.up(self.down(x))
        return out
