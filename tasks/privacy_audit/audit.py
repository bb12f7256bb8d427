"""The audit: train with canaries, look for them, say what that means for the claim.

In order, twice, with the claimed noise and with none:

1. Every canary tosses its coin.
2. The trainer trains on the made-up users and the canaries that joined.
3. Every canary is scored by what it finds in the trained model.
4. Bounds and an estimate of epsilon follow from how well scores tell the coins.

The training without noise shows whether the audit could have seen anything at all.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from data_contracts.privacy_audit import (
    AuditResult,
    AuditVerdict,
    CanaryFamily,
    FamilyFinding,
)
from data_contracts.settings.audit import PrivacyAuditConfig
from data_contracts.stopwatch import now_utc
from models.parameters import read_vector, write_vector
from models.privacy import audit_bounds
from models.privacy.accounting import noise_multiplier_for
from models.privacy.audit_bounds import Coins, Scores
from models.privacy.audited_trainer import AuditedTrainer
from models.privacy.canaries import (
    DataCanaries,
    dirac_block,
    dirac_scores,
    fair_coins,
    loss_scores,
    row_scores,
)
from models.privacy.mechanism import Mechanism
from models.privacy.randomness import os_seeded_generator
from models.recommenders.building import build_recommender
from models.sequences import SequenceData
from tasks.privacy_audit.population import made_up_users

OnStage = Callable[[str], None]


@dataclass(frozen=True)
class Sighting:
    """Scores of one family's canaries, and which of them had joined."""

    scores: Scores
    joined: Coins


def audit_trainer(
    config: PrivacyAuditConfig,
    trainer: AuditedTrainer,
    model_sha256: str = "",
    on_stage: OnStage = lambda title: None,
) -> AuditResult:
    """Audit a trainer on made-up users.

    Args:
        config: the claim, and what to look for.
        trainer: a function that trains as it would in a silo.
        model_sha256: of the model version the audit is kept with, if any.
        on_stage: told what happens next.
    """
    began = time.monotonic()
    mechanism = claimed_mechanism(config)
    users = made_up_users(
        config.population.users,
        config.population.items,
        config.population.history_length,
        np.random.default_rng(),
    )
    on_stage("Training with canaries")
    findings = _findings(config, look_for_canaries(config, trainer, mechanism, users))
    on_stage("Training with canaries and without noise, to see what would show")
    silent = replace(mechanism, noise_multiplier=0.0)
    control = _findings(config, look_for_canaries(config, trainer, silent, users))
    verdict, sentence = judge(config.training.epsilon, findings, control)
    now = now_utc()
    return AuditResult(
        audit_id=f"privacy-audit-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        at=now.isoformat(),
        model_sha256=model_sha256,
        trainer=getattr(trainer, "__name__", type(trainer).__name__),
        claimed_epsilon=config.training.epsilon,
        delta=config.training.delta,
        confidence=config.confidence,
        noise_multiplier=mechanism.noise_multiplier,
        sampling_probability=mechanism.sampling_probability,
        steps=mechanism.steps,
        findings=findings,
        control=control,
        verdict=verdict,
        sentence=sentence,
        seconds=time.monotonic() - began,
    )


def claimed_mechanism(config: PrivacyAuditConfig) -> Mechanism:
    """What the trainer is asked to do; its noise meets the claim unless it is given."""
    training = config.training
    noise = training.noise_multiplier
    if noise is None:
        noise = noise_multiplier_for(
            training.epsilon,
            training.delta,
            sampling_probability=training.sampling_probability,
            steps=training.steps,
        )
    return Mechanism(
        clip_norm=training.clip_norm,
        noise_multiplier=noise,
        sampling_probability=training.sampling_probability,
        steps=training.steps,
        expected_batch=training.sampling_probability * config.population.users,
        learning_rate=training.learning_rate,
        context=config.model.context,
    )


def look_for_canaries(
    config: PrivacyAuditConfig,
    trainer: AuditedTrainer,
    mechanism: Mechanism,
    users: SequenceData,
) -> dict[CanaryFamily, Sighting]:
    """One training among fresh canaries, and the scores of all of them."""
    wanted, items = config.canaries, config.population.items
    made_up = DataCanaries.drawn(
        wanted.data, wanted.history_length, items, np.random.default_rng()
    )
    coins = fair_coins(wanted.dirac)
    block = dirac_block(coins)
    module = build_recommender(config.model.as_model(), items + wanted.data)
    module.initialise(os_seeded_generator())
    before = read_vector(module)
    trainer(module, made_up.among(users), mechanism, block)
    after = read_vector(module)
    found = {
        CanaryFamily.DIRAC: Sighting(dirac_scores(block), coins),
        CanaryFamily.DATA_LOSS: Sighting(
            loss_scores(module, before, after, made_up), made_up.joined
        ),
        CanaryFamily.DATA_ROW: Sighting(
            row_scores(module, before, after, made_up), made_up.joined
        ),
    }
    write_vector(module, after)
    return found


def judge(
    claimed: float,
    findings: tuple[FamilyFinding, ...],
    control: tuple[FamilyFinding, ...],
) -> tuple[AuditVerdict, str]:
    """The verdict and its reason; the first rule that applies decides."""
    worst = max(findings, key=lambda found: found.bound)
    dirac, silent = _of(CanaryFamily.DIRAC, findings), _of(CanaryFamily.DIRAC, control)
    if worst.bound > claimed:
        return AuditVerdict.FAIL, (
            f"Canaries ({worst.family}) prove an epsilon of at least "
            f"{worst.bound:.2f}, and {claimed:g} is claimed: this trainer does not "
            "keep what it promises; do not release its models."
        )
    if dirac.estimate_low > claimed:
        return AuditVerdict.WARN, (
            f"The estimated epsilon of {dirac.estimate:.1f} is above the claimed "
            f"{claimed:g}, even at the low end of its interval, "
            f"{dirac.estimate_low:.1f}; nothing is proved, but look for the error "
            "before you train."
        )
    if max(silent.bound, silent.estimate_low) <= claimed:
        return AuditVerdict.WARN, (
            "The audit has no power: it does not see that the noise is off either "
            f"(estimate {silent.estimate:.1f}); raise training.steps, "
            "training.sampling_probability or canaries.dirac."
        )
    return AuditVerdict.PASS, (
        f"Nothing contradicts the claimed epsilon of {claimed:g}: at least "
        f"{worst.bound:.2f} is certain, {dirac.estimate:.1f} is likely, and without "
        f"noise the estimate rises to {silent.estimate:.0f}. This audit could not "
        f"have proved more than {max(found.ceiling for found in findings):.1f}."
    )


def _findings(
    config: PrivacyAuditConfig, sightings: dict[CanaryFamily, Sighting]
) -> tuple[FamilyFinding, ...]:
    """Bounds of all families; together they hold with the wanted confidence."""
    significance = 1.0 - config.confidence
    return tuple(
        _finding(family, seen, config.training.delta, significance, len(sightings))
        for family, seen in sightings.items()
    )


def _finding(
    family: CanaryFamily,
    seen: Sighting,
    delta: float,
    significance: float,
    families: int,
) -> FamilyFinding:
    share = significance / families
    bounds = audit_bounds.certified_bounds(seen.scores, seen.joined, delta, share)
    estimate = audit_bounds.gaussian_estimate(
        seen.scores, seen.joined, delta, significance, np.random.default_rng()
    )
    return FamilyFinding(
        family=family,
        canaries=len(seen.scores),
        one_run=bounds.one_run,
        f_dp=bounds.f_dp,
        ceiling=audit_bounds.ceiling(len(seen.scores), delta, share).best,
        estimate=estimate.epsilon,
        estimate_low=estimate.low,
        estimate_high=estimate.high,
        scores_joined=tuple(seen.scores[seen.joined].tolist()),
        scores_out=tuple(seen.scores[~seen.joined].tolist()),
    )


def _of(family: CanaryFamily, findings: tuple[FamilyFinding, ...]) -> FamilyFinding:
    return next(found for found in findings if found.family is family)
