"""What each kind of layer contributes to a user's gradient norm and to the clipped sum.

Shape legend: B users, L positions, p inputs, q outputs of a layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention


class LayerTap(ABC):
    """Sees a layer's input and the gradient of its output in one pass.

    Attributes:
        layer: the layer.
        owned: its parameters that train.
        x: what it was given, [B, ...].
        grad: gradient of what it made of that, [B, ...].
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        own = layer.parameters(recurse=False)
        self.owned = tuple(p for p in own if p.requires_grad)
        self.x = self.grad = torch.empty(0)

    def watch(self) -> torch.utils.hooks.RemovableHandle:
        """Record every pass from now on, until the handle is removed."""
        return self.layer.register_forward_hook(self._saw)

    @abstractmethod
    def norm2(self) -> Tensor:
        """Squared gradient norms over the owned parameters, [B]."""

    @abstractmethod
    def add_clipped(self, factors: Tensor) -> None:
        """Add each user's gradient times its factor [B] to `grad` of the owned."""

    def _saw(self, layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        self.x = inputs[0].detach()
        if not out.requires_grad:  # nothing before it trains: the graph begins here
            out = out.detach().requires_grad_()
        register: Any = out.register_hook  # torch gives it no type
        register(self._keep)
        return out

    def _keep(self, grad: Tensor) -> None:
        self.grad = grad


class LinearTap(LayerTap):
    """`nn.Linear` on [B, L, p], with or without bias; the thin maps of LoRA as well."""

    layer: nn.Linear

    def norm2(self) -> Tensor:
        """See `LayerTap`; by whichever of the two formulas is cheaper."""
        x, grad = self.x, self.grad
        if x.shape[2] * grad.shape[2] <= x.shape[1] ** 2:
            norms = torch.bmm(grad.mT, x).square().sum((1, 2))
        else:
            norms = (torch.bmm(x, x.mT) * torch.bmm(grad, grad.mT)).sum((1, 2))
        if self.layer.bias is not None:
            norms = norms + grad.sum(1).square().sum(1)
        return norms

    def add_clipped(self, factors: Tensor) -> None:
        """See `LayerTap`."""
        grad = self.grad * factors[:, None, None]
        add(self.layer.weight, grad.flatten(0, 1).T @ self.x.flatten(0, 1))
        if self.layer.bias is not None:
            add(self.layer.bias, grad.sum((0, 1)))


class LayerNormTap(LayerTap):
    """`nn.LayerNorm` over the last axis of [B, L, p]."""

    layer: nn.LayerNorm

    def norm2(self) -> Tensor:
        """See `LayerTap`."""
        return self._scales().square().sum(1) + self.grad.sum(1).square().sum(1)

    def add_clipped(self, factors: Tensor) -> None:
        """See `LayerTap`."""
        add(self.layer.weight, factors @ self._scales())
        add(self.layer.bias, factors @ self.grad.sum(1))

    def _scales(self) -> Tensor:
        """Gradient of the scale per user, [B, p]."""
        layer = self.layer
        whitened = F.layer_norm(self.x, layer.normalized_shape, eps=layer.eps)
        return (whitened * self.grad).sum(1)


class RelativeBiasTap(LayerTap):
    """`RelativeBias`: buckets [B, L, L] -> [B, H, L, L]."""

    def norm2(self) -> Tensor:
        """See `LayerTap`."""
        return self._per_user().square().sum((1, 2))

    def add_clipped(self, factors: Tensor) -> None:
        """See `LayerTap`."""
        (weight,) = self.owned
        add(weight, torch.tensordot(factors, self._per_user(), dims=1))

    def _per_user(self) -> Tensor:
        """Gradients [B, buckets, H]."""
        (weight,) = self.owned
        buckets = self.x.flatten(1)[..., None].expand(-1, -1, weight.shape[1])
        grad = self.grad.flatten(2).mT  # [B, L * L, H]
        zeros = grad.new_zeros(len(grad), *weight.shape)
        return zeros.scatter_add_(1, buckets, grad)


def gradient_of(parameter: Tensor) -> Tensor:
    """`parameter.grad`, zeros if there was none."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def add(parameter: Tensor, gradient: Tensor) -> None:
    """Add to `parameter.grad`."""
    gradient_of(parameter).add_(gradient)
