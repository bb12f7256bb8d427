"""Worked examples of federated training on plain tables: settings and result.

Their rows are made up from a public seed, silo by silo, so that what the federation
reaches may be compared with what it must never do with real data: pooling the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from data_contracts.run_config import ClusterConfig
from data_contracts.settings.base import Section
from data_contracts.settings.cohort import CohortConfig, SiloConfig
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.settings.training import ServerOptimizerConfig

ExampleName = Literal["linear-regression", "logistic-regression", "mlp"]
SILO_NAMES = ("north", "south", "west", "east")
ALL_SILOS = "all silos"
# A quorum: a sum of fewer would be somebody's own.
FEWEST_SILOS = 2


class TabularConfig(Section):
    """Sizes and schedule of a worked example."""

    silos: int = Field(
        2,
        ge=FEWEST_SILOS,
        le=len(SILO_NAMES),
        description="Silos of the example. With two, each can read the other's update "
        "from the sum.",
    )
    rows: int | None = Field(
        None,
        ge=8,
        le=100_000,
        description="Rows of the first silo; the second has a half of them, the third "
        "a third. Left out: those of the example.",
    )
    noise: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Standard deviation of a number's noise; left out: that of the "
        "example.",
    )
    rounds: int | None = Field(
        None, ge=1, le=1000, description="Left out: the rounds that the example needs."
    )
    local_steps: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Steps down the gradient over all of a silo's rows in a round; "
        "left out: those of the example. With 1, rounds are exactly those of pooled "
        "training.",
    )
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="Of those steps; left out: that of the example."
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, description="Public: whoever knows it knows the rows."
    )


class TabularTrainingConfig(Section):
    """Everything one worked example needs to know."""

    example: ExampleName = Field(
        "linear-regression",
        description="linear-regression and mlp predict a number, logistic-regression "
        "yes or no.",
    )
    output_folder: str = Field(
        "silorec_output", description="Page and pictures go to its folder `tabular`."
    )
    tabular: TabularConfig = Field(default_factory=TabularConfig)
    secure_aggregation: SecureAggregationConfig = Field(
        default_factory=SecureAggregationConfig
    )
    server_optimizer: ServerOptimizerConfig = Field(
        default_factory=ServerOptimizerConfig
    )
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)

    @model_validator(mode="after")
    def _sums_as_a_whole(self) -> TabularTrainingConfig:
        secure = self.secure_aggregation
        if (
            secure.ring_bits != 32
            or secure.keeps_parts
            or secure.min_silos_per_item > 1
        ):
            raise ValueError(
                "worked examples add all updates up at once, in 32 bits: leave "
                "secure_aggregation.ring_bits, groups, combine, norm_bound and "
                "min_silos_per_item as they are; mode, clip and manifest can be set"
            )
        return self

    @property
    def cohort(self) -> CohortConfig:
        """The made-up silos, all of which must stay."""
        silos = tuple(SiloConfig(name=name) for name in self.silo_names)
        return CohortConfig(silos=silos, min_silos=len(silos), wait_minutes=0)

    @property
    def kept_apart(self) -> TabularTrainingConfig:
        """The same, with a folder in which no real silo of these names has its own."""
        folder = f"{self.output_folder}/tabular"
        return self.model_copy(update={"output_folder": folder})

    @property
    def silo_names(self) -> tuple[str, ...]:
        """Names of the silos; also where each one's rows lie."""
        return SILO_NAMES[: self.tabular.silos]


@dataclass(frozen=True, kw_only=True)
class FittedModel:
    """One way to a model, and what the model is worth.

    Attributes:
        title: which way.
        coefficients: slope and intercept; empty if the model has others.
        losses: silo, or all silos -> mean squared error or log loss on fresh rows.
        scores: silo, or all silos -> R^2 or accuracy on the same.
        curve: its predictions over the grid of the result.
    """

    title: str
    coefficients: tuple[float, ...]
    losses: Mapping[str, float]
    scores: Mapping[str, float]
    curve: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TabularResult:
    """What a worked example ends in.

    Attributes:
        run_id: names the run and its files.
        example: which one.
        mode: how updates were summed.
        loss_title: what losses are.
        score_title: what scores are.
        round_losses: mean training loss of all silos at the start of each round.
        federated: the model trained in rounds.
        pooled: the best, or as long trained, model of all rows; an oracle.
        alone: silo -> the same of its rows only.
        grid: places at which curves are drawn.
        points: silo -> its rows (x, y); known because they are made up.
        cautions: what the example does not hide.
    """

    run_id: str
    example: ExampleName
    mode: str
    loss_title: str
    score_title: str
    round_losses: tuple[float, ...]
    federated: FittedModel
    pooled: FittedModel
    alone: Mapping[str, FittedModel]
    grid: tuple[float, ...]
    points: Mapping[str, tuple[tuple[float, float], ...]]
    cautions: tuple[str, ...]

    @property
    def models(self) -> tuple[FittedModel, ...]:
        """All of them, the federated one first."""
        return (self.federated, self.pooled, *self.alone.values())
