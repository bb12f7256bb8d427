"""Prefect edge of the tabular room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.progress import announce
from data_contracts.secure_sum import SecureSum
from data_contracts.tabular import TabularResult, TabularTrainingConfig
from data_contracts.workspace import Cohort, SiloReplies
from models.fixed_point import decode_counts
from models.global_model import GlobalModel, fresh_model
from models.parameters import Vector
from models.tabular.building import first_vector
from models.tabular.examples import EXAMPLES
from tasks.tabular.comparison import compared
from tasks.tabular.silo_side import NUM_FEATURES, FitJob, fit_rows, make_rows

SumSecurely = Callable[[Cohort, str], SecureSum]


@task(name="Make rows on silos", cache_policy=NO_CACHE)
def make_rows_on_silos(
    cohort: Cohort, sum_securely: SumSecurely, config: TabularTrainingConfig
) -> FitJob:
    """Each silo draws its rows; of them, only the summed number is seen.

    Returns:
        What every silo is asked to do in a round.
    """
    announce().stage(f"Making rows inside {len(cohort.silos)} silos")
    made = cohort.call(make_rows, config, lasting=True, retry=True)
    total = decode_counts(sum_securely(cohort.only(made.values), "data sizes").total)
    return FitJob.of(config, int(total[0]))


def start_of(config: TabularTrainingConfig) -> GlobalModel:
    """The model before round 1."""
    example = EXAMPLES[config.example]
    vector = first_vector(example.model, NUM_FEATURES, config.tabular.seed)
    return fresh_model(vector, config.server_optimizer)


def rounds_of(config: TabularTrainingConfig) -> range:
    """Numbers of the rounds, from 1."""
    return range(1, (config.tabular.rounds or EXAMPLES[config.example].rounds) + 1)


@task(
    name="Fit on silos", task_run_name="round-{round_number}-fit", cache_policy=NO_CACHE
)
def fit_on_silos(
    cohort: Cohort, model: Vector, job: FitJob, round_number: int
) -> SiloReplies[None]:
    """Every silo fits its own rows from the model, and shelves its update.

    Args:
        cohort: silos that hold rows.
        model: float32 [d].
        job: what to do.
        round_number: for the name of the task run.
    """
    return cohort.call(fit_rows, cohort.broadcast(model), job, retry=True)


@task(name="Compare with the oracle", cache_policy=NO_CACHE)
def compare_with_oracle(
    config: TabularTrainingConfig,
    federated: Vector,
    round_losses: Sequence[float],
    run_id: str,
) -> TabularResult:
    """The federated model beside pooled rows and each silo alone: rows are made up."""
    return compared(config, federated, round_losses, run_id)
