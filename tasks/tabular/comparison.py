"""What a worked example is compared with: pooled rows, and each silo alone.

An oracle: the coordinator draws the silos' rows itself, which it can only because they
are made up from a public seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_contracts.exposure import MODE_WARNINGS, PLAIN_WARNING, TWO_SILOS_WARNING
from data_contracts.tabular import (
    ALL_SILOS,
    FittedModel,
    TabularResult,
    TabularTrainingConfig,
)
from models.parameters import Vector
from models.tabular.building import first_vector
from models.tabular.examples import EXAMPLES, HIGH, LOW, TabularRows, pooled_rows
from models.tabular.fitting import best_line, descended, judged, predictions
from models.tabular.heads import HEADS
from tasks.tabular.silo_side import NUM_FEATURES, FitJob, rows_of

GRID = np.linspace(LOW, HIGH, 121)


def compared(
    config: TabularTrainingConfig,
    federated: Vector,
    round_losses: Sequence[float],
    run_id: str,
) -> TabularResult:
    """The federated model beside the pooled oracle and each silo alone."""
    names = config.silo_names
    tables = [rows_of(config, silo, fresh=False) for silo in range(len(names))]
    head = HEADS[EXAMPLES[config.example].head]
    steps = len(round_losses) * FitJob.of(config, 1).steps

    def fitted(title: str, rows: TabularRows) -> FittedModel:
        return _judged(config, title, _fit(config, rows, steps))

    return TabularResult(
        run_id=run_id,
        example=config.example,
        mode=config.secure_aggregation.mode,
        loss_title=head.loss_title,
        score_title=head.score_title,
        round_losses=tuple(round_losses),
        federated=_judged(config, "federated", federated),
        pooled=fitted("pooled", pooled_rows(tables)),
        alone={
            name: fitted(f"{name} alone", rows)
            for name, rows in zip(names, tables, strict=True)
        },
        grid=tuple(GRID.tolist()),
        points={
            name: tuple(
                zip(rows.features[:, 0].tolist(), rows.target.tolist(), strict=True)
            )
            for name, rows in zip(names, tables, strict=True)
        },
        cautions=tuple(cautions(config)),
    )


def cautions(config: TabularTrainingConfig) -> list[str]:
    """What this run does not hide, and from whom."""
    mode = config.secure_aggregation.mode
    if mode == "plain":
        return [PLAIN_WARNING]
    told = [MODE_WARNINGS[mode]] if mode in MODE_WARNINGS else []
    return [*told, TWO_SILOS_WARNING] if config.tabular.silos == 2 else told


def _fit(config: TabularTrainingConfig, rows: TabularRows, steps: int) -> Vector:
    """A line of least loss; of a network, as many steps as the federation made."""
    example = EXAMPLES[config.example]
    if example.model == "linear":
        return best_line(example, rows)
    start = first_vector(example.model, NUM_FEATURES, config.tabular.seed)
    rate = FitJob.of(config, 1).learning_rate
    return descended(example, start, rows, steps=steps, learning_rate=rate)[0]


def _judged(config: TabularTrainingConfig, title: str, vector: Vector) -> FittedModel:
    """The model with its loss and score on fresh rows of each silo and of all."""
    example, names = EXAMPLES[config.example], config.silo_names
    fresh = [rows_of(config, silo, fresh=True) for silo in range(len(names))]
    tables = {ALL_SILOS: pooled_rows(fresh), **dict(zip(names, fresh, strict=True))}
    figures = {name: judged(example, vector, rows) for name, rows in tables.items()}
    return FittedModel(
        title=title,
        coefficients=tuple(vector.tolist()) if example.model == "linear" else (),
        losses={name: loss for name, (loss, _) in figures.items()},
        scores={name: score for name, (_, score) in figures.items()},
        curve=tuple(predictions(example, vector, GRID).tolist()),
    )
