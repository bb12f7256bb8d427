"""FedProx: a silo's training is pulled back to the model that its round began with.

Li et al. 2020, "Federated Optimization in Heterogeneous Networks", eq. 2: the silo
minimises its loss + mu / 2 * |w - w_t|^2, so that many local steps on its own data
carry it less far from the others. mu = 0 is plain federated averaging.
"""

from __future__ import annotations

import torch
from torch import nn


class ProximalTerm:
    """The gradient of `mu / 2 * |w - w_t|^2`, where w_t is what the module holds now.

    Args:
        module: parameters set to the global model.
        mu: strength, > 0.
    """

    def __init__(self, module: nn.Module, mu: float) -> None:
        self._mu = mu
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._start = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add `mu * (w - w_t)` to the gradients that are there."""
        for parameter, start in zip(self._parameters, self._start, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(parameter - start, alpha=self._mu)
