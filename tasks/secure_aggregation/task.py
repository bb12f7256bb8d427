"""Prefect edge of the secure-aggregation room."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.errors import ConfigError, QuorumLostError
from data_contracts.progress import announce
from data_contracts.secure_aggregation import (
    AggregationTerms,
    threshold_for,
)
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.training import SecureAggregationConfig
from data_contracts.workspace import COUNTS, Cohort, InputKind
from models.fixed_point import limit_for
from tasks.secure_aggregation.protocol import run_in_the_clear, run_protocol

TWO_SILOS_WARNING = (
    "With two silos, secure aggregation hides their updates from the coordinator only: "
    "each silo can subtract its own update from the sum and read the other's."
)
PLAIN_WARNING = (
    "Secure aggregation is off (secure_aggregation.mode is plain): the coordinator "
    "sees every silo's update and can learn from it what is in the silo's data."
)

_RUNS = {"masked": run_protocol, "plain": run_in_the_clear}


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
    deadline_seconds: float | None = None,
) -> SecureSum:
    """The exact integer sum of the silos' shelved contributions.

    Args:
        cohort: the silos; each must have shelved a `Contribution`, which is used up.
        purpose: what is summed, for example `item counts`.
        round_number: 0 before the first round.
        config: masked or plain.
        min_silos: the quorum; masked mode also needs t = floor(2n/3) + 1 silos.
        kind: ring, encoding and global model of the contributions.
        deadline_seconds: silos that take longer in any phase are left out.

    Raises:
        ConfigError: masked mode with a single silo.
        QuorumLostError: too few silos are left to open the sum.
    """
    members = cohort.silos
    if config.mode == "masked" and len(members) == 1:
        raise ConfigError(
            f"secure aggregation of {purpose} has one silo, {members[0]}, whose sum "
            "would be its own input; add silos or set secure_aggregation.mode to plain"
        )
    if len(members) < max(1, min_silos):
        raise QuorumLostError(
            f"secure aggregation of {purpose} in round {round_number} needs "
            f"{min_silos} silos and {len(members)} are left; start the round again "
            "when more can answer, or lower cohort.min_silos"
        )
    terms = AggregationTerms(
        run_id=cohort.run_id,
        round_number=round_number,
        purpose=purpose,
        members=members,
        threshold=threshold_for(len(members)),
        min_silos=min_silos,
        kind=kind,
    )
    return _RUNS[config.mode](cohort, terms, deadline_seconds=deadline_seconds)


def say_what_is_exposed(
    silos: tuple[str, ...], config: SecureAggregationConfig
) -> None:
    """Tell a person, once per run, where aggregation hides less than they may think.

    Raises:
        ConfigError: the ring is too narrow for so many silos.
    """
    limit_for(len(silos), config.ring_bits)
    if config.mode == "plain":
        announce().note(PLAIN_WARNING)
    elif len(silos) == 2:
        announce().note(TWO_SILOS_WARNING)
