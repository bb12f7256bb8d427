"""The moving average of a model over its steps: less noise in what is published."""

from __future__ import annotations

import torch
from torch import nn


class MovingAverage:
    """Exponential moving average of a module's parameters, without a start bias.

    After t steps it holds the sum of `decay^(t - s) * theta_s` over s, divided by the
    sum of the factors (Kingma & Ba 2015, section 3, for Adam's moments). An average of
    private models costs no privacy: it is computed from what is already released.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, not {decay}")
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._decay = decay
        self._mass = 0.0
        self._sums = [torch.zeros_like(p) for p in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Count the parameters as they are now."""
        self._mass = self._decay * self._mass + (1 - self._decay)
        for total, parameter in zip(self._sums, self._parameters, strict=True):
            total.lerp_(parameter, 1 - self._decay)

    @torch.no_grad()
    def write(self) -> None:
        """Overwrite the parameters by their average; without updates do nothing."""
        if self._mass:
            for total, parameter in zip(self._sums, self._parameters, strict=True):
                parameter.copy_(total / self._mass)
