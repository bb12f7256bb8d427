"""Prefect edge of the validation room."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.progress import announce
from data_contracts.settings.data import ContractConfig
from data_contracts.workspace import Cohort, SiloFailure, SiloReplies
from tasks.validation.admission import Admission, admit
from tasks.validation.results import ExpectationResult
from tasks.validation.silo_side import accept_snapshot, validate_tables


@task(
    name="Validate on silos",
    task_run_name="validate-on-silos",
    cache_policy=NO_CACHE,
    log_prints=False,
)
def validate_on_silos(
    cohort: Cohort, contracts: ContractConfig, *, now_seconds: int
) -> SiloReplies[tuple[ExpectationResult, ...]]:
    """Check every silo's tables inside the silo; admits and remembers nothing.

    Args:
        cohort: silos that hold their tables.
        contracts: bounds of the data contract.
        now_seconds: latest valid timestamp, in seconds since 1970-01-01 UTC.
    """
    announce().stage(f"Validating {len(cohort.silos)} silos")
    return cohort.call(validate_tables, contracts, now_seconds, retry=True)


@task(
    name="Admit silos",
    task_run_name="admit-silos",
    cache_policy=NO_CACHE,
    log_prints=False,
)
def admit_silos(
    cohort: Cohort,
    contracts: ContractConfig,
    *,
    run_id: str,
    min_silos: int,
    loading_failures: Mapping[str, SiloFailure],
    now_seconds: int,
) -> Admission:
    """Validate, quarantine who breaks the contract, remember accepted snapshots.

    Args:
        cohort: all invited silos, with or without those that failed to load.
        contracts: bounds of the data contract.
        run_id: named in the records.
        min_silos: below this quorum the run will not go on, so no snapshot is kept.
        loading_failures: silos whose tables could not be loaded; not validated.
        now_seconds: latest valid timestamp, in seconds since 1970-01-01 UTC.
    """
    invited = tuple(dict.fromkeys((*cohort.silos, *loading_failures)))
    loaded = cohort.only(silo for silo in invited if silo not in loading_failures)
    replies = validate_on_silos.fn(loaded, contracts, now_seconds=now_seconds)
    failures = dict(loading_failures)
    admission = admit(invited, replies, failures, run_id=run_id)
    if len(admission.admitted) >= min_silos:
        # A silo that cannot remember its snapshot could not measure drift next time.
        failures |= cohort.only(admission.admitted).call(accept_snapshot).failures
        admission = admit(invited, replies, failures, run_id=run_id)
    for sentence in admission.quarantined.values():
        announce().note(sentence)
    return admission
