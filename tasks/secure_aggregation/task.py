"""Prefect edge of the secure-aggregation room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.errors import ConfigError, QuorumLostError
from data_contracts.exposure import (
    GROUPS_NOTE,
    MODE_WARNINGS,
    PLAIN_WARNING,
    TWO_SILOS_WARNING,
)
from data_contracts.mask_graph import usual_neighbours
from data_contracts.progress import announce
from data_contracts.secure_aggregation import (
    AggregationTerms,
    threshold_for,
)
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.robustness import (
    groups_possible,
    parts_needed,
)
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import COUNTS, Cohort, InputKind
from models.fixed_point import limit_for
from tasks.secure_aggregation.adder import require_size
from tasks.secure_aggregation.confirmed_before import confirmed_before
from tasks.secure_aggregation.early_keys import EarlyKeys
from tasks.secure_aggregation.groups import sum_in_groups
from tasks.secure_aggregation.homomorphic import run_homomorphic
from tasks.secure_aggregation.manifest import read_manifest
from tasks.secure_aggregation.protocol import run_in_the_clear, run_protocol
from tasks.secure_aggregation.two_aggregators import run_two_aggregators


@task(
    name="Aggregate securely",
    task_run_name="round-{round_number}-sum-{purpose}",
    cache_policy=NO_CACHE,
    log_prints=False,
)
def aggregate_securely(
    cohort: Cohort,
    purpose: str,
    round_number: int,
    config: SecureAggregationConfig,
    *,
    min_silos: int,
    kind: InputKind = COUNTS,
    dealt_as: str = "",
    deadline_seconds: float | None = None,
    apart: bool = False,
    early: EarlyKeys | None = None,
    attempt: int = 1,
) -> SecureSum:
    """The exact integer sum of the silos' shelved contributions.

    Args:
        cohort: the silos; each must have shelved a `Contribution`, which is used up.
        purpose: what is summed, for example `item counts`.
        round_number: 0 before the first round.
        config: the mode and the groups.
        min_silos: the quorum; but for mode plain, also t = floor(2n/3) + 1 silos.
        kind: ring, encoding and global model of the contributions.
        dealt_as: the run whose groups are to be dealt; empty: that of the cohort.
        deadline_seconds: silos that take longer in any phase are left out.
        apart: also keep the parts, if `config` says that they are to be compared.
        early: keys that were exchanged while the silos made their contributions; with
            too few of them left, or none, the exchange is done now.
        attempt: above 1, an earlier one of the run may have come to confirmations; the
            round is then finished with exactly those silos.

    Raises:
        ConfigError: a single silo, unless the mode is plain; mode homomorphic without
            TenSEAL or with a vector that is too long.
        QuorumLostError: too few silos, or groups, are left to open the sum.
    """
    apart = apart and config.keeps_parts
    terms = _terms(cohort, purpose, round_number, config, min_silos, kind, attempt)
    if bound := _bound_by_earlier_attempts(cohort, terms, config, apart):
        # All of them, or nobody signs: a list of fewer could never be finished.
        cohort, min_silos = cohort.only(bound), len(bound)
        terms = _terms(cohort, purpose, round_number, config, min_silos, kind, attempt)
    members = cohort.silos
    _require_silos(members, min_silos, purpose, round_number, config)
    run = partial(_runner(config, apart), deadline_seconds=deadline_seconds)
    if early:
        if bound:  # its keys are for more silos, of whom more would have to sign
            early.give_up()
        elif summed := early.finished_with(members):
            return summed
        terms = replace(terms, attempt=attempt + 1)
    if not apart or config.groups == 1:
        return run(cohort, terms)
    summed = _sum_in_groups(run, cohort, terms, config, dealt_as)
    _require_silos(summed.contributors, min_silos, purpose, round_number, config)
    return summed


def _sum_in_groups(
    run: Callable[..., SecureSum],
    cohort: Cohort,
    terms: AggregationTerms,
    config: SecureAggregationConfig,
    dealt_as: str,
) -> SecureSum:
    return sum_in_groups(
        terms,
        groups_possible(config.groups, len(terms.members)),
        lambda part: run(cohort.only(part.members), part),
        needed=parts_needed(config.combine, config.assumed_attackers),
        dealt_as=dealt_as,
    )


def _bound_by_earlier_attempts(
    cohort: Cohort,
    terms: AggregationTerms,
    config: SecureAggregationConfig,
    apart: bool,
) -> tuple[str, ...]:
    """Silos that the sum must be of, because they confirmed one before a crash.

    Groups are dealt as before, and each silo sees to it that its own is the same.
    """
    free = config.mode == "plain" or (apart and config.groups > 1)
    if free or terms.attempt == 1 or not terms.round_number:
        return ()
    return confirmed_before(
        cohort, terms, with_auditor=config.mode == "two-aggregators"
    )


def exchange_keys_early(
    cohort: Cohort,
    purpose: str,
    round_number: int,
    config: SecureAggregationConfig,
    *,
    min_silos: int,
    kind: InputKind,
    length: int,
    deadline_seconds: float,
    attempt: int = 1,
) -> EarlyKeys | None:
    """Begin a sum while the silos are still busy with what goes into it.

    Args:
        cohort: all silos that may contribute.
        purpose: what will be summed.
        round_number: from 1.
        config: only mode masked exchanges keys, and groups are dealt when it is known
            who is in them.
        min_silos: the quorum.
        kind: ring, encoding and global model of the contributions.
        length: words of a contribution.
        deadline_seconds: silos that take longer in a phase are left out.
        attempt: of the sum; each has its own keys.

    Returns:
        What `aggregate_securely` takes as `early`; None: nothing can be done early.
    """
    if config.mode != "masked" or config.groups > 1 or len(cohort.silos) < 2:
        return None
    terms = _terms(cohort, purpose, round_number, config, min_silos, kind, attempt)
    return EarlyKeys(cohort, terms, length, deadline_seconds)


def _terms(
    cohort: Cohort,
    purpose: str,
    round_number: int,
    config: SecureAggregationConfig,
    min_silos: int,
    kind: InputKind,
    attempt: int,
) -> AggregationTerms:
    members = cohort.silos
    return AggregationTerms(
        run_id=cohort.run_id,
        round_number=round_number,
        purpose=purpose,
        members=members,
        threshold=threshold_for(len(members)),
        min_silos=min_silos,
        kind=kind,
        attempt=attempt,
        manifest_hash=_manifest_hash(config),
        neighbours=usual_neighbours(len(members)) if config.graph == "auto" else 0,
    )


def _runner(config: SecureAggregationConfig, apart: bool) -> Callable[..., SecureSum]:
    runners: dict[str, Callable[..., SecureSum]] = {
        "masked": run_protocol,
        "two-aggregators": run_two_aggregators,
        "homomorphic": partial(
            run_homomorphic, max_parameters=config.homomorphic_max_parameters
        ),
        "plain": partial(run_in_the_clear, apart=apart),
    }
    return runners[config.mode]


def _manifest_hash(config: SecureAggregationConfig) -> str:
    return read_manifest(Path(config.manifest)).sha256 if config.manifest else ""


def _require_silos(
    left: tuple[str, ...],
    min_silos: int,
    purpose: str,
    round_number: int,
    config: SecureAggregationConfig,
) -> None:
    if config.mode != "plain" and len(left) == 1:
        raise ConfigError(
            f"secure aggregation of {purpose} has one silo, {left[0]}, whose sum "
            "would be its own input; add silos or set secure_aggregation.mode to plain"
        )
    if len(left) < max(1, min_silos):
        raise QuorumLostError(
            f"secure aggregation of {purpose} in round {round_number} needs "
            f"{min_silos} silos and {len(left)} are left; start the round again "
            "when more can answer, or lower cohort.min_silos"
        )


def require_sums_fit(
    lengths: Mapping[str, int], config: SecureAggregationConfig
) -> None:
    """Refuse, before the first round, a sum that the mode would refuse after it.

    Args:
        lengths: purpose -> numbers in the longest sum of that purpose.
        config: mode homomorphic accepts `homomorphic_max_parameters`.

    Raises:
        ConfigError: names the sum that is too long.
    """
    if config.mode == "homomorphic":
        for purpose, length in lengths.items():
            require_size(purpose, length, config.homomorphic_max_parameters)


def say_what_is_exposed(
    silos: tuple[str, ...], config: SecureAggregationConfig
) -> None:
    """Tell a person, once per run, where aggregation hides less than they may think.

    Raises:
        ConfigError: the ring is too narrow for so many silos, or they are too few for
            the defences that were chosen.
    """
    limit_for(len(silos), config.ring_bits)
    if complaint := config.complaint_about(len(silos)):
        raise ConfigError(complaint)
    if config.mode == "plain":
        announce().note(PLAIN_WARNING)
        return
    if config.mode in MODE_WARNINGS:
        announce().note(MODE_WARNINGS[config.mode])
    if len(silos) == 2:
        announce().note(TWO_SILOS_WARNING)
    if config.groups > 1:
        announce().note(GROUPS_NOTE.format(groups=config.groups))
