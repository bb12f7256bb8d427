"""What a model's output means: a number (MSE) or the log-odds of a yes (BCE)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def r_squared(output: Tensor, target: Tensor) -> float:
    """Share of the targets' variance that the outputs [N] explain."""
    rest = torch.sum((target - output) ** 2)
    spread = torch.sum((target - target.mean()) ** 2)
    return float(1.0 - rest / spread)


def accuracy(output: Tensor, target: Tensor) -> float:
    """Share of targets on whose side of even odds the outputs [N] are."""
    return float(((output > 0) == (target > 0.5)).double().mean())


@dataclass(frozen=True)
class Head:
    """How outputs [N] are judged against targets [N], and shown.

    Attributes:
        loss: mean over rows; what training minimises.
        loss_title: its name.
        score: what people read.
        score_title: its name.
        shown: outputs -> what is drawn over the data.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    loss_title: str
    score: Callable[[Tensor, Tensor], float]
    score_title: str
    shown: Callable[[Tensor], Tensor]


HEADS: dict[str, Head] = {
    "mse": Head(
        functional.mse_loss, "MSE", r_squared, "R\N{SUPERSCRIPT TWO}", torch.clone
    ),
    "bce": Head(
        functional.binary_cross_entropy_with_logits,
        "log loss",
        accuracy,
        "accuracy",
        torch.sigmoid,
    ),
}
