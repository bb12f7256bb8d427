"""The worked examples as data: where rows come from, and what is trained on them.

Each silo sees another part of the line: their data are not identically distributed,
and no silo alone can know how the line goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOW, HIGH = -3.0, 3.0
# Rows that models are judged by, for each row that they are trained on.
FRESH = 20
# Neighbouring silos share so much of each one's part, on either side.
OVERLAP = 0.125


@dataclass(frozen=True)
class TabularRows:
    """A silo's table.

    Attributes:
        features: float64 [N, F].
        target: float64 [N].
    """

    features: Floats
    target: Floats


@dataclass(frozen=True, kw_only=True)
class TabularExample:
    """One worked example.

    Attributes:
        model: name of what is trained.
        head: name of its head.
        truth: x [N] -> mean of y, or its log-odds.
        noise: standard deviation of y about its mean; a yes or no has its own.
        rows: of the first silo.
        rounds: that it needs.
        local_steps: of each silo in a round.
        learning_rate: of those steps.
    """

    model: str
    head: str
    truth: Callable[[Floats], Floats]
    noise: float
    rows: int
    rounds: int
    local_steps: int
    learning_rate: float


EXAMPLES: dict[str, TabularExample] = {
    "linear-regression": TabularExample(
        model="linear", head="mse", truth=lambda x: 1.5 * x - 1.0, noise=1.5,
        rows=24, rounds=40, local_steps=1, learning_rate=0.1,
    ),
    "logistic-regression": TabularExample(
        model="linear", head="bce", truth=lambda x: 1.5 * x - 1.0, noise=0.0,
        rows=120, rounds=100, local_steps=1, learning_rate=1.0,
    ),
    "mlp": TabularExample(
        model="mlp", head="mse", truth=lambda x: 3.0 * np.sin(1.5 * x), noise=0.6,
        rows=60, rounds=60, local_steps=20, learning_rate=0.05,
    ),
}  # fmt: skip


def interval_of(silo: int, silos: int) -> tuple[float, float]:
    """Where a silo's x lie.

    >>> interval_of(0, 2), interval_of(1, 2)
    ((-3.0, 0.375), (-0.375, 3.0))
    """
    width = (HIGH - LOW) / silos
    low, high = LOW + silo * width, LOW + (silo + 1) * width
    return max(LOW, low - OVERLAP * width), min(HIGH, high + OVERLAP * width)


def draw_rows(
    example: TabularExample,
    silo: int,
    silos: int,
    *,
    rows: int | None,
    noise: float | None,
    seed: int,
    fresh: bool = False,
) -> TabularRows:
    """The made-up rows of one silo, the same wherever they are drawn.

    Args:
        example: what y follows.
        silo: its number, from 0.
        silos: of the federation.
        rows: of the first silo, None: those of the example; silo i has
            rows / (i + 1).
        noise: standard deviation of y about its mean, None: that of the example.
        seed: public.
        fresh: other rows from the same source, 20 times as many, to judge models by.
    """
    generator = np.random.default_rng([seed, silo, int(fresh)])
    size = (rows or example.rows) // (silo + 1) * (FRESH if fresh else 1)
    x = generator.uniform(*interval_of(silo, silos), size=size)
    mean = example.truth(x)
    if example.head == "bce":
        y = (generator.random(len(x)) < 1.0 / (1.0 + np.exp(-mean))).astype(np.float64)
    else:
        noise = noise or example.noise
        y = mean + noise * generator.standard_normal(len(x))
    return TabularRows(x[:, None], y)


def pooled_rows(tables: list[TabularRows]) -> TabularRows:
    """All rows of all silos: only ever of made-up ones."""
    return TabularRows(
        np.concatenate([table.features for table in tables]),
        np.concatenate([table.target for table in tables]),
    )
