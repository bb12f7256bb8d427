"""Fitting a model to a table: steps down the gradient, or all the way at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.parameters import Vector, read_vector, write_vector
from models.tabular.building import build_model, outputs
from models.tabular.examples import TabularExample, TabularRows
from models.tabular.heads import HEADS

NEWTON_STEPS = 30
# Where data are separable no best logistic line exists; this penalty gives one.
_RIDGE = 1e-3


def descended(
    example: TabularExample,
    vector: Vector,
    rows: TabularRows,
    *,
    steps: int,
    learning_rate: float,
) -> tuple[Vector, float]:
    """(parameters after steps over all rows at once, float32 [d]; loss before them).

    With one step from the same start, the mean of silos' results weighted by their
    rows is the result of pooled rows: the mean loss's gradient is a mean over rows.
    """
    module, head = loaded(example, vector, rows), HEADS[example.head]
    features, target = _tensors(rows)
    optimizer = torch.optim.SGD(module.parameters(), lr=learning_rate)
    first = float("nan")
    for step in range(steps):
        optimizer.zero_grad()
        loss = head.loss(outputs(module, features), target)
        loss.backward()  # type: ignore[no-untyped-call] # torch ships it untyped
        first = float(loss.detach()) if step == 0 else first
        optimizer.step()
    return read_vector(module), first


def best_line(example: TabularExample, rows: TabularRows) -> Vector:
    """The line [F + 1] of least loss: Newton's method, exact after a step for MSE.

    Of squares this is ordinary least squares; of log losses, maximum likelihood by
    iteratively reweighted least squares (McCullagh & Nelder 1989, section 2.5).
    """
    design = np.column_stack([rows.features, np.ones(len(rows.target))])
    line = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS if example.head == "bce" else 1):
        output = design @ line
        mean, curvature, ridge = output, np.ones_like(output), 0.0
        if example.head == "bce":
            mean, ridge = 0.5 * (1.0 + np.tanh(0.5 * output)), _RIDGE
            curvature = mean * (1.0 - mean)
        hessian = design.T @ (design * curvature[:, None]) + ridge * np.eye(len(line))
        slope = design.T @ (rows.target - mean) - ridge * line
        line = line + np.linalg.solve(hessian, slope)
    return line.astype(np.float32)


def judged(
    example: TabularExample, vector: Vector, rows: TabularRows
) -> tuple[float, float]:
    """(loss, score) of a model on a table."""
    module, head = loaded(example, vector, rows), HEADS[example.head]
    features, target = _tensors(rows)
    with torch.no_grad():
        output = outputs(module, features)
        return float(head.loss(output, target)), head.score(output, target)


def loaded(example: TabularExample, vector: Vector, rows: TabularRows) -> nn.Module:
    """The example's module for such rows, set to these parameters."""
    module = build_model(example.model, rows.features.shape[1])
    write_vector(module, vector)
    return module


def predictions(
    example: TabularExample, vector: Vector, grid: np.ndarray
) -> np.ndarray:
    """What is drawn over the data at each place of the grid [G], float64 [G]."""
    rows = TabularRows(grid[:, None], grid)
    module = loaded(example, vector, rows)
    with torch.no_grad():
        shown = HEADS[example.head].shown(outputs(module, _tensors(rows)[0]))
    return shown.numpy()


def _tensors(rows: TabularRows) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(rows.features), torch.from_numpy(rows.target)
