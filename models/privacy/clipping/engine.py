"""From a batch of histories to the sum of clipped per-user gradients.

Shape legend: B users, L positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from data_contracts.errors import ConfigError
from models.privacy.clipping.heads import (
    NO_ITEM,
    ScoreGradients,
    full_softmax,
    sampled_softmax,
)
from models.privacy.clipping.item_taps import FeatureItemsTap, ItemsTap, ItemTableTap
from models.privacy.clipping.layers import (
    LayerNormTap,
    LayerTap,
    LinearTap,
    RelativeBiasTap,
)
from models.recommenders.feature_items import FeatureItems
from models.recommenders.relative_bias import RelativeBias
from models.recommenders.sequence_recommender import SequenceRecommender

TAPS: dict[type[nn.Module], type[LayerTap]] = {
    nn.Linear: LinearTap,
    nn.LayerNorm: LayerNormTap,
    RelativeBias: RelativeBiasTap,
    nn.Embedding: ItemTableTap,
    FeatureItems: FeatureItemsTap,
}
EngineName = Literal["bookkeeping", "one-user"]
# Scores of one pass, in numbers: the same as the chunks of training without privacy.
SCORES_AT_ONCE = 2**21

AddClipped = Callable[[Tensor, float, Tensor | None], None]


def clip_factors(norms: Tensor, clip_norm: float) -> Tensor:
    """What gradients of these norms [B] are multiplied by: at most 1."""
    return (clip_norm / norms.clamp_min(1e-12)).clamp_max(1.0)


class BookKeeping:
    """Adds the clipped gradients of a batch to `grad`, in one backward pass.

    Args:
        module: a recommender whose trainable parameters all belong to layers in `TAPS`.

    Raises:
        ConfigError: a parameter belongs to no such layer, or to two.
    """

    def __init__(self, module: SequenceRecommender) -> None:
        self._module = module
        self._taps = taps_of(module)
        self._items = next(tap for tap in self._taps if isinstance(tap, ItemsTap))

    def add_clipped(
        self, items: Tensor, clip_norm: float, negatives: Tensor | None = None
    ) -> None:
        """One pass.

        Args:
            items: int64 [B, L + 1], padded by `NO_ITEM` at the end; may be empty.
            clip_norm: C.
            negatives: int64 [K] of sampled softmax; None: all items are scored.
        """
        for part in torch.split(items, self._users_at_once(items, negatives)):
            if len(part):
                norms = self.norms(part, negatives)
                self._add(clip_factors(norms, clip_norm))

    def norms(self, items: Tensor, negatives: Tensor | None = None) -> Tensor:
        """Gradient norms of these users, [B]; leaves the pass for `_add`."""
        inputs, targets = items[:, :-1].clamp_min(0), items[:, 1:]
        with self._watched():
            hidden = self._module.encode(inputs)
            head = hidden.detach()
            by_hidden = self._items.score(head, self._scored(head, targets, negatives))
            torch.autograd.backward(hidden, by_hidden)
        return torch.stack([tap.norm2() for tap in self._taps]).sum(0).sqrt()

    def _add(self, factors: Tensor) -> None:
        with torch.no_grad():
            for tap in self._taps:
                tap.add_clipped(factors)

    def _scored(
        self, hidden: Tensor, targets: Tensor, negatives: Tensor | None
    ) -> ScoreGradients:
        with torch.no_grad():
            table, bias = self._module.items.weight, self._module.item_bias
            if negatives is None:
                return full_softmax(hidden, table, bias, targets)
            return sampled_softmax(hidden, table, bias, targets, negatives)

    def _users_at_once(self, items: Tensor, negatives: Tensor | None) -> int:
        columns = self._module.num_items if negatives is None else len(negatives)
        return max(1, SCORES_AT_ONCE // max(1, columns * (items.shape[1] - 1)))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Inside, only activations have gradients, and the taps see them."""
        with ExitStack() as stack:
            for tap in self._taps:
                stack.callback(tap.watch().remove)
                for parameter in tap.owned:
                    parameter.requires_grad_(False)
                    stack.callback(parameter.requires_grad_, True)
            yield


class OneUser:
    """The same by ordinary autograd, one user at a time: slow, and plainly right."""

    def __init__(self, module: SequenceRecommender) -> None:
        self._module = module
        self._parameters = [p for p in module.parameters() if p.requires_grad]

    def add_clipped(
        self, items: Tensor, clip_norm: float, negatives: Tensor | None = None
    ) -> None:
        """See `BookKeeping.add_clipped`."""
        for row in items:
            gradients = self.gradients(row, negatives)
            factor = clip_factors(_norm(gradients), clip_norm)
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad += factor * gradient

    def gradients(self, row: Tensor, negatives: Tensor | None) -> tuple[Tensor, ...]:
        """Gradients of one user's loss, items [L + 1], for each parameter."""
        loss = user_loss(self._module, row, negatives)
        return torch.autograd.grad(
            loss, self._parameters, allow_unused=True, materialize_grads=True
        )


def user_loss(
    module: SequenceRecommender, row: Tensor, negatives: Tensor | None = None
) -> Tensor:
    """Mean cross entropy of one user's items [L + 1] by torch's own functions."""
    targets = row[1:]
    real = targets != NO_ITEM
    if not real.any():
        trained = [p.sum() for p in module.parameters() if p.requires_grad]
        return torch.stack(trained).sum() * 0.0
    hidden = module.encode(row[None, :-1].clamp_min(0))[0][real]  # [N, D]
    targets, table = targets[real], module.items.weight
    scores = hidden @ table.T
    if module.item_bias is not None:
        scores = scores + module.item_bias
    if negatives is not None:
        shared = scores[:, negatives].masked_fill(
            targets[:, None] == negatives, -torch.inf
        )
        scores = torch.cat([scores.gather(1, targets[:, None]), shared], dim=1)
        targets = torch.zeros_like(targets)
    loss: Tensor = nn.functional.cross_entropy(scores, targets)
    return loss


def taps_of(module: nn.Module) -> list[LayerTap]:
    """A tap for every layer that trains.

    Raises:
        ConfigError: a trainable parameter belongs to no layer that can be clipped, or
            to two: then nobody can bound what one user changes.
    """
    taps = [
        TAPS[type(layer)](layer)
        for layer in module.modules()
        if type(layer) in TAPS
        and any(p.requires_grad for p in layer.parameters(recurse=False))
    ]
    owners: dict[int, int] = {}
    for tap in taps:
        for parameter in tap.owned:
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and (count := owners.get(id(parameter), 0)) != 1:
            found = "no layer" if not count else f"{count} layers"
            raise ConfigError(
                f"parameter {name} belongs to {found} whose per-user gradients can be "
                "clipped, and it must belong to exactly one; freeze it, or use one of "
                f"{', '.join(kind.__name__ for kind in TAPS)}"
            )
    return taps


ENGINES: dict[EngineName, Callable[[SequenceRecommender], BookKeeping | OneUser]] = {
    "bookkeeping": BookKeeping,
    "one-user": OneUser,
}


def _norm(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
