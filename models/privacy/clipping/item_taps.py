"""Item vectors at both ends, as one layer: read in the history, scored at the end.

Someone's gradient of a tied table is the sum of both uses, so neither can be clipped
without the other. With inputs x_t, gradients e_t of their vectors, gradients g_t of the
scores and hidden states h_t, the table's is

    G = sum_t 1[x_t] e_t' + sum_t g_t h_t'

and its squared norm is the norm of each sum plus twice their inner product, none of
which needs G itself, [V, D] for every user.

Shape legend: B users, L positions, D width, V items, K scored columns, f features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.privacy.clipping.heads import ScoreGradients
from models.privacy.clipping.layers import LayerTap, add, gradient_of
from models.recommenders.feature_items import FeatureItems


class ItemsTap(LayerTap):
    """Common to both kinds of item layer: the head's side of a pass."""

    layer: nn.Embedding | FeatureItems
    hidden: Tensor
    scored: ScoreGradients

    def score(self, hidden: Tensor, scored: ScoreGradients) -> Tensor:
        """Record hidden states [B, L, D] and score gradients; gradient by `hidden`."""
        self.hidden, self.scored = hidden, scored
        with torch.no_grad():
            table = self.layer.weight
            columns = table if scored.columns is None else table[scored.columns]
            by_hidden = scored.by_column @ columns
            if scored.by_target is not None:
                by_hidden += scored.by_target[..., None] * table[scored.targets]
        return by_hidden


class ItemTableTap(ItemsTap):
    """`nn.Embedding` as the table at both ends."""

    layer: nn.Embedding

    def norm2(self) -> Tensor:
        """See `LayerTap`."""
        items, rows = self._rows()
        same = items[:, :, None] == items[:, None, :]
        inner = (torch.bmm(rows, rows.mT) * same).sum((1, 2))
        return inner + self._norm2_of_columns() + 2 * self._rows_by_columns(items, rows)

    def add_clipped(self, factors: Tensor) -> None:
        """See `LayerTap`."""
        items, rows = self._rows()
        hidden = self.hidden * factors[:, None, None]
        grad = self.scored.by_column.flatten(0, 1).T @ hidden.flatten(0, 1)
        table = gradient_of(self.layer.weight)
        if self.scored.columns is None:
            table += grad
        else:
            table.index_add_(0, self.scored.columns, grad)
        rows = rows * factors[:, None, None]
        table.index_add_(0, items.flatten(), rows.flatten(0, 1))

    def _rows(self) -> tuple[Tensor, Tensor]:
        """Single rows of the gradient: (items [B, R], vectors [B, R, D])."""
        if self.scored.by_target is None:
            return self.x, self.grad
        targets = self.scored.by_target[..., None] * self.hidden
        return (
            torch.cat([self.x, self.scored.targets], dim=1),
            torch.cat([self.grad, targets], dim=1),
        )

    def _norm2_of_columns(self) -> Tensor:
        g, hidden = self.scored.by_column, self.hidden
        if hidden.shape[1] <= hidden.shape[2]:
            return (torch.bmm(g, g.mT) * torch.bmm(hidden, hidden.mT)).sum((1, 2))
        whole = [own.T @ h for own, h in zip(g, hidden, strict=True)]  # [V, D] each
        return torch.stack([gradient.square().sum() for gradient in whole])

    def _rows_by_columns(self, items: Tensor, rows: Tensor) -> Tensor:
        """Inner products of rows with the columns' gradient of their item, [B]."""
        g, column = self.scored.by_column, items
        inner = torch.bmm(self.hidden, rows.mT)  # [B, L, R]
        if self.scored.columns is not None:
            place = items.new_full((self.layer.num_embeddings,), -1)
            place[self.scored.columns] = torch.arange(
                len(self.scored.columns), device=items.device
            )
            column = place[items]
            inner = inner * (column >= 0)[:, None, :]
            column = column.clamp_min(0)
        scores = g.gather(2, column[:, None, :].expand(-1, g.shape[1], -1))
        return (scores * inner).sum((1, 2))


class FeatureItemsTap(ItemsTap):
    """`FeatureItems`: a linear layer whose inputs are features, at both ends."""

    layer: FeatureItems

    def norm2(self) -> Tensor:
        """See `LayerTap`."""
        a, b = self._sides()
        if a.shape[2] * b.shape[2] <= a.shape[1] ** 2:
            return torch.bmm(a.mT, b).square().sum((1, 2))
        return (torch.bmm(a, a.mT) * torch.bmm(b, b.mT)).sum((1, 2))

    def add_clipped(self, factors: Tensor) -> None:
        """See `LayerTap`."""
        a, b = self._sides()
        b = b * factors[:, None, None]
        add(self.layer.projection, a.flatten(0, 1).T @ b.flatten(0, 1))

    def _sides(self) -> tuple[Tensor, Tensor]:
        """(features [B, 2L, f], gradients of vectors [B, 2L, D]); G = sum of a b'."""
        features, scored = self.layer.features, self.scored
        columns = features if scored.columns is None else features[scored.columns]
        scores = scored.by_column @ columns  # [B, L, f]
        if scored.by_target is not None:
            scores += scored.by_target[..., None] * features[scored.targets]
        return (
            torch.cat([features[self.x], scores], dim=1),
            torch.cat([self.grad, self.hidden], dim=1),
        )
