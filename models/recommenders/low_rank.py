"""Low-rank adaptation of frozen layers (Hu et al. 2022, LoRA, section 4.1).

A model that was trained before stays as it is; only thin additions to the linear
layers of its blocks learn, and only they are sent. In a federation the first map of an
addition stays as it was drawn: else the mean of the silos' products would not be the
product of their means (Sun et al. 2024, FFA-LoRA, section 4). Scaling is left to the
learning rate.

Shape legend: p inputs, q outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Tensors = Mapping[str, NDArray[np.float32]]

_BASE, _DOWN, _UP = ".base.", ".down.weight", ".up.weight"


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


def adapt(blocks: nn.ModuleList, rank: int) -> None:
    """Put a `LowRankLinear` in the place of every linear layer directly in a block."""
    for block in blocks:
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(block, name, LowRankLinear(layer, rank))


def learns(name: str) -> bool:
    """Whether the tensor of this name learns; it begins at zero, so nothing changes.

    >>> learns("blocks.0.attention_out.up.weight"), learns("items.weight")
    (True, False)
    """
    return name.endswith(_UP)


def _added(name: str) -> bool:
    return name.endswith((_DOWN, _UP))


def merged(tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """The same model without adapters: `base + up @ down` in place of each layer."""
    plain = {n: t for n, t in tensors.items() if not _added(n) and _BASE not in n}
    for name, base in tensors.items():
        if _BASE not in name:
            continue
        layer, _, kind = name.partition(_BASE)
        whole = base
        if kind == "weight":
            whole = base + tensors[layer + _UP] @ tensors[layer + _DOWN]
        plain[f"{layer}.{kind}"] = whole
    return plain


def adapted(plain: Tensors, fresh: Tensors) -> dict[str, NDArray[np.float32]]:
    """`plain` in the form of a model with adapters.

    Args:
        plain: tensors of a model without adapters.
        fresh: tensors of the model with adapters, of which only these are taken.
    """
    return {
        name: tensor if _added(name) else plain[name.replace(_BASE, ".")]
        for name, tensor in fresh.items()
    }
