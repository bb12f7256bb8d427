"""Prefect edge of the privacy-budget room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.errors import QuorumLostError
from data_contracts.privacy_plan import BudgetStatement, PrivacyPlan
from data_contracts.progress import announce
from data_contracts.records import RetrainingOutcome
from data_contracts.retraining import Stop
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.privacy import PrivacyConfig
from data_contracts.workspace import Cohort, SiloFailure, SiloReplies
from models.privacy.joint_noise import JointNoise
from models.vocabulary import Vocabulary
from tasks.privacy_budget.planning import UNKNOWN_NOISE, planned
from tasks.privacy_budget.releases import (
    release_popularity,
    share_popularity,
    start_from,
)
from tasks.privacy_budget.silo_side import (
    charge_run,
    foresee_charge,
    noise_needed,
    settle_run,
)

T = TypeVar("T")


@dataclass(frozen=True)
class ChargedBudget:
    """What every silo of the run has charged.

    Attributes:
        plan: of the run, the same in every silo.
        statements: silo -> its ledger after charging.
        refusals: silos whose budget does not allow it.
    """

    plan: PrivacyPlan
    statements: Mapping[str, BudgetStatement]
    refusals: Mapping[str, SiloFailure]


@task(name="Charge privacy budget", cache_policy=NO_CACHE)
def charge_privacy(
    cohort: Cohort, privacy: PrivacyConfig, rounds: int, *, min_silos: int
) -> ChargedBudget | None:
    """Charge the whole run in every silo's ledger, before its first step.

    All silos take the noise that the one with the least left needs.

    Args:
        cohort: the silos.
        privacy: the public numbers; None is returned if the mode is off.
        rounds: of training.
        min_silos: fewest whose budget must allow it.

    Raises:
        QuorumLostError: too few silos can afford it; nothing was trained.
    """
    if not privacy.on:
        return None
    announce().stage("Charging the privacy budget of every silo")
    plan, refusals = _agreed_plan(cohort, privacy, rounds)
    able = cohort.only(silo for silo in cohort.silos if silo not in refusals)
    charged = able.call(charge_run, privacy, plan, lasting=True, retry=True)
    refusals |= charged.failures
    for failure in refusals.values():
        announce().note(f"{failure.reason}: {failure.sentence}")
    if len(charged.values) < min_silos:
        raise QuorumLostError(
            f"the privacy budget of {len(charged.values)} silos allows this run and "
            f"cohort.min_silos is {min_silos}: "
            + "; ".join(failure.sentence for failure in refusals.values())
        )
    return ChargedBudget(plan, charged.values, refusals)


@task(name="Foresee privacy budget", cache_policy=NO_CACHE)
def foresee_budget(
    cohort: Cohort,
    privacy: PrivacyConfig,
    rounds: int,
    *,
    min_silos: int,
    last_noise: float,
) -> Stop | None:
    """Whether a run could be paid for, and with what noise; charges nothing.

    Args:
        cohort: the silos.
        privacy: the public numbers; where the mode is off, nothing is asked.
        rounds: of training.
        min_silos: fewest whose budget must allow it.
        last_noise: noise multiplier of the champion's training, 0 if it had none.
    """
    if not privacy.on:
        return None
    plan, refusals = _agreed_plan(cohort, privacy, rounds)
    able = cohort.only(silo for silo in cohort.silos if silo not in refusals)
    foreseen = able.call(foresee_charge, privacy, plan)
    refusals |= foreseen.failures
    noise = plan.training.noise_multiplier
    if len(foreseen.values) < min_silos:
        return Stop(
            RetrainingOutcome.REFUSED_BY_BUDGET,
            f"the privacy budget of {len(foreseen.values)} silos allows it and "
            f"cohort.min_silos is {min_silos}: "
            + "; ".join(failure.sentence for failure in refusals.values()),
        )
    before = f"; the champion had {last_noise:.3g}" if last_noise else ""
    announce().note(
        f"The privacy budget allows the training with noise multiplier {noise:.3g}"
        f"{before}."
    )
    return None


def _agreed_plan(
    cohort: Cohort, privacy: PrivacyConfig, rounds: int
) -> tuple[PrivacyPlan, dict[str, SiloFailure]]:
    """The plan with the noise that every silo can pay for, and who can pay for none."""
    steps = rounds * privacy.steps_in_round
    plan = planned(privacy, steps)
    if privacy.noise_multiplier is not None:
        return plan, {}
    needed = cohort.call(noise_needed, privacy, steps, plan)
    noise = max(needed.values.values(), default=UNKNOWN_NOISE)
    training = replace(plan.training, noise_multiplier=noise)
    return replace(plan, training=training), dict(needed.failures)


@task(name="Settle privacy budget", cache_policy=NO_CACHE)
def settle_privacy(
    cohort: Cohort, privacy: PrivacyConfig, steps: int
) -> Mapping[str, BudgetStatement]:
    """Note in every ledger how many steps were taken; silo -> its ledger then."""
    if not privacy.on:
        return {}
    settled = cohort.call(settle_run, privacy, steps, retry=True)
    for silo, statement in settled.values.items():
        announce().note(
            f"Silo {silo} has spent epsilon {statement.epsilon:.2f} of "
            f"{statement.budget:g} in this {privacy.period}, at delta "
            f"{statement.delta:.2g}."
        )
    return settled.values


@task(name="Start from noisy popularity", cache_policy=NO_CACHE)
def start_from_popularity(
    cohort: Cohort,
    vocabulary: Vocabulary,
    charged: ChargedBudget | None,
    config: FederatedTrainingConfig,
    sum_securely: Callable[..., SecureSum],
) -> Vocabulary:
    """The vocabulary with logarithms of a noisy popularity on the scores of items.

    Counts that the noise drowns are all taken for as large as the noise. Every silo
    takes the new vocabulary over.

    Args:
        cohort: silos that have charged it.
        vocabulary: the items.
        charged: None, or a plan without popularity: nothing is released.
        config: of the run.
        sum_securely: secure aggregation over the contributions of a cohort, which
            opens each sum of a round above 0 once.

    Raises:
        QuorumLostError: too few silos, and nothing was opened; or one has failed, whose
            models would start from other scores than those of the others.
    """
    if charged is None or charged.plan.popularity is None:
        return vocabulary
    announce().stage("Counting how popular items are, with noise")
    if config.privacy.mode == "joint":
        noise = JointNoise.agreed(
            config,
            noise_multiplier=charged.plan.popularity,
            clip_norm=1.0,
            expected_users=config.privacy.declared_users or 0,
            silos=len(cohort.silos),
            size=vocabulary.size,
        )
        counts, deviation = _shared_counts(cohort, vocabulary, noise, sum_securely)
    else:
        counts, deviation = _told_counts(cohort, charged.plan.popularity)
    counts = np.maximum(counts, deviation)
    biased = vocabulary.biased(np.log(counts / counts.sum()).astype(np.float32))
    _of_everybody(cohort.call(start_from, biased, lasting=True, retry=True))
    return biased


def _of_everybody(replies: SiloReplies[T]) -> Mapping[str, T]:
    """The replies, if no silo failed: a run that goes on must start where it did."""
    for failure in replies.failures.values():
        raise QuorumLostError(
            f"silo {failure.silo} failed while the silos agreed on how popular items "
            f"are, which all start from ({failure.reason}: {failure.sentence}); resume "
            "the run when it can answer"
        )
    return replies.values


def _told_counts(cohort: Cohort, noise: float) -> tuple[NDArray[np.floating], float]:
    """(item counts with each silo's own noise, standard deviation of all of it)."""
    told = _of_everybody(cohort.call(release_popularity))
    released = [counts for counts in told.values() if counts is not None]
    return np.sum(released, axis=0), noise * len(released) ** 0.5


def _shared_counts(
    cohort: Cohort,
    vocabulary: Vocabulary,
    noise: JointNoise,
    sum_securely: Callable[..., SecureSum],
) -> tuple[NDArray[np.floating], float]:
    """The same with noise that silos share; opened once, as a sum of round 1 is."""
    shared = cohort.call(share_popularity, noise)
    summed = sum_securely(
        cohort.only(shared.values),
        "popularity",
        round_number=1,
        kind=noise.kind(vocabulary.sha256),
    )
    return noise.decode(summed.total), noise.noise_on_sum(len(summed.contributors))
