"""Steps of a worked example that run inside a silo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_contracts.tabular import TabularTrainingConfig
from data_contracts.workspace import Contribution, InputKind, SiloWorkspace
from models.fixed_point import encode_counts
from models.parameters import Vector, layout_of, vector_hash
from models.tabular.building import build_model
from models.tabular.examples import EXAMPLES, TabularExample, TabularRows, draw_rows
from models.tabular.fitting import descended
from models.weighted_mean import UpdateEncoding

NUM_FEATURES = 1


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """What a silo must know to fit its rows in a round.

    Attributes:
        example: name of what is trained.
        steps: down the gradient.
        learning_rate: of each.
        encoding: of the update.
        total_rows: of all silos, of which a silo weighs its share; None: every silo
            weighs the same.
        num_silos: in the secure sum.
    """

    example: str
    steps: int
    learning_rate: float
    encoding: UpdateEncoding
    total_rows: int | None
    num_silos: int

    @classmethod
    def of(cls, config: TabularTrainingConfig, total_rows: int) -> FitJob:
        """The job of every round of a worked example."""
        example, chosen = EXAMPLES[config.example], config.tabular
        by_rows = config.server_optimizer.weighting == "examples"
        layout = layout_of(build_model(example.model, NUM_FEATURES))
        return cls(
            example=config.example,
            steps=chosen.local_steps or example.local_steps,
            learning_rate=chosen.learning_rate or example.learning_rate,
            encoding=UpdateEncoding.of(
                layout, chosen.silos, config.secure_aggregation.clip
            ),
            total_rows=total_rows if by_rows else None,
            num_silos=chosen.silos,
        )

    def input_kind(self, model_hash: str) -> InputKind:
        """What every contribution to the sum of a round must be."""
        return InputKind(self.encoding.ring_bits, self.encoding.fingerprint, model_hash)

    def weight(self, rows: int) -> float:
        """Share of a silo with so many rows."""
        return rows / self.total_rows if self.total_rows else 1.0 / self.num_silos


def rows_of(config: TabularTrainingConfig, silo: int, *, fresh: bool) -> TabularRows:
    """The made-up rows of a silo, which follow from the public settings."""
    example: TabularExample = EXAMPLES[config.example]
    chosen = config.tabular
    return draw_rows(
        example,
        silo,
        chosen.silos,
        rows=chosen.rows,
        noise=chosen.noise,
        seed=chosen.seed,
        fresh=fresh,
    )


def make_rows(workspace: SiloWorkspace, config: TabularTrainingConfig) -> None:
    """Shelve the silo's rows, and their number for a secure sum."""
    silo = config.silo_names.index(workspace.silo)
    rows = rows_of(config, silo, fresh=False)
    workspace.put(rows)
    size = np.array([len(rows.target)])
    workspace.put(Contribution(encode_counts(size, config.tabular.silos)))


def fit_rows(workspace: SiloWorkspace, global_model: Vector, job: FitJob) -> None:
    """Fit the silo's rows from the global model; shelve the weighted update.

    Raises:
        NotFiniteError: loss or update is NaN or infinite; nothing is shelved.
    """
    rows = workspace.get(TabularRows)
    fitted, loss = descended(
        EXAMPLES[job.example], global_model, rows,
        steps=job.steps, learning_rate=job.learning_rate,
    )  # fmt: skip
    encoded = job.encoding.encode(
        fitted - global_model,
        job.weight(len(rows.target)),
        loss,
        dither=np.random.default_rng(0).random,  # unused in the ring of 32 bits
    )
    kind = job.input_kind(vector_hash(global_model))
    workspace.put(Contribution(encoded.words, kind))
