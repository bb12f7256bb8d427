"""Prefect edge of the local-training room."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.errors import QuorumLostError
from data_contracts.personal_parts import PERSONAL
from data_contracts.preflight import TrainingSample
from data_contracts.progress import announce
from data_contracts.round_outcome import TrainingReceipt
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.cohort import POOLED_SILO_NAME, CohortConfig
from data_contracts.workspace import Cohort, SiloReplies
from models.parameters import Vector
from tasks.local_training.private_jobs import PrivateJob
from tasks.local_training.private_side import train_round_privately
from tasks.local_training.sample import train_sample
from tasks.local_training.silo_side import (
    AloneJob,
    RoundJob,
    compare_with_commitment,
    forget_rounds,
    hand_over_pooled_model,
    train_alone,
    train_round,
)


@task(
    name="Train on silos",
    task_run_name="round-{job.round_number}-train",
    cache_policy=NO_CACHE,
)
def train_on_silos(
    cohort: Cohort,
    sent: Vector,
    job: RoundJob | PrivateJob,
    config: CohortConfig,
) -> SiloReplies[TrainingReceipt]:
    """One round of local training at every silo; updates stay in the silos.

    Args:
        cohort: silos that hold sequences.
        sent: the vector of a `RoundStart`.
        job: the round's recipe.
        config: deadline and quorum.

    Raises:
        QuorumLostError: fewer than `config.min_silos` trained.
    """
    announce().stage(f"Round {job.round_number}: training at {len(cohort.silos)} silos")
    replies = cohort.call(
        train_round_privately if isinstance(job, PrivateJob) else train_round,
        cohort.broadcast(sent),
        job,
        deadline_seconds=config.deadline_seconds,
        retry=True,
    )
    if len(replies.values) < config.min_silos:
        reasons = "; ".join(
            f"{silo}: {failure.reason}, {failure.sentence}"
            for silo, failure in replies.failures.items()
        )
        raise QuorumLostError(
            f"only {len(replies.values)} silos trained in round {job.round_number} and "
            f"cohort.min_silos is {config.min_silos} ({reasons})"
        )
    return replies


@task(name="Train a sample on silos", cache_policy=NO_CACHE)
def train_sample_on_silos(
    cohort: Cohort, sent: Vector, job: RoundJob, deadline_seconds: float
) -> SiloReplies[TrainingSample]:
    """A few batches at every silo, timed; their updates stay in the silos.

    Args:
        cohort: silos that hold sequences.
        sent: the vector of a `RoundStart`.
        job: the recipe of a round.
        deadline_seconds: silos that take longer are failed.
    """
    announce().stage(f"Training a few batches at {len(cohort.silos)} silos")
    return cohort.call(
        train_sample,
        cohort.broadcast(sent),
        job,
        deadline_seconds=deadline_seconds,
    )


@task(
    name="Compare with commitments",
    task_run_name="round-{round_number}-compare-commitments",
    cache_policy=NO_CACHE,
)
def compare_with_commitments(
    cohort: Cohort, run_id: str, round_number: int, commitments: Mapping[str, str]
) -> Mapping[str, bool | None]:
    """Whether each silo's shelved update is the one it once committed to.

    Args:
        cohort: silos that have just trained.
        run_id: the run in which they committed.
        round_number: and the round.
        commitments: silo -> commitment, as recorded.

    Returns:
        Silo -> the same or not; None where a silo cannot tell.
    """
    told = cohort.call(
        compare_with_commitment,
        f"{run_id}/{round_number}",
        per_silo={silo: (commitments[silo],) for silo in cohort.silos},
    )
    return {silo: told.values.get(silo) for silo in cohort.silos}


@task(name="Train for comparison", cache_policy=NO_CACHE)
def train_for_comparison(
    hosts: Cohort, silos: tuple[str, ...], initial_model: Vector, job: AloneJob
) -> Vector | None:
    """Train every silo on its own data alone, and the pooled data, all at once.

    Args:
        hosts: the silos and, where data is public, the pretended pooled silo.
        silos: the members of the federation.
        initial_model: where the federated run began, float32 [d].
        job: the recipe.

    Returns:
        The pooled model, if `hosts` has the pooled silo; the others keep theirs.
    """
    members = hosts.only((POOLED_SILO_NAME, *silos))
    announce().stage("Training alone and pooled, for comparison")
    trained = members.call(train_alone, members.broadcast(initial_model), job).values
    pooled = members.only(set(trained) & {POOLED_SILO_NAME})
    return pooled.call(hand_over_pooled_model).values.get(POOLED_SILO_NAME)


def forget_rounds_on_silos(cohort: Cohort, best_round: int = 0) -> None:
    """The run is over: silos delete what they kept for interrupted rounds.

    Args:
        cohort: the silos.
        best_round: whose personal part goes with the published model; 0: nothing is
            published.
    """
    cohort.call(forget_rounds, best_round)


def tell_of_own_parts(config: FederatedTrainingConfig, run_id: str) -> None:
    """Say where each silo finds what belongs to the published model."""
    if config.model.personal != "none":
        announce().note(
            f"Each silo keeps its own part of the model (model.personal "
            f"{config.model.personal}) in its folder, under {PERSONAL}/{run_id}; the "
            "published model holds in its place what everybody began with."
        )
