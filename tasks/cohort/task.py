"""Prefect-facing edge of the cohort room: opening the cohort of a run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.records import DecisionRecord, Verdict
from data_contracts.run_config import ClusterConfig
from data_contracts.settings.cohort import AUDITOR_NAME, CohortConfig, SiloConfig
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import Cohort
from tasks.cohort.actor import RayCohort, ray_cohort


class CohortSettings(Protocol):
    """What a run says about its silos, whatever it trains."""

    @property
    def output_folder(self) -> str:
        """The silos' own folders lie in it."""

    @property
    def cohort(self) -> CohortConfig:
        """Deadlines, retries and restarts."""

    @property
    def secure_aggregation(self) -> SecureAggregationConfig:
        """Tells whether an auditor is needed."""

    @property
    def cluster(self) -> ClusterConfig:
        """Where actors run."""


def open_cohort(
    silos: Iterable[SiloConfig], config: CohortSettings, run_id: str
) -> AbstractContextManager[RayCohort]:
    """One warm Ray actor per silo, for the length of a `with` block.

    Beside them the auditor, if the sums of this run need one.

    Raises:
        ConfigError: a silo asks for hardware that no node offers.
    """
    folder = Path(config.output_folder).expanduser().resolve() / "silos"
    auditor = SiloConfig(name=AUDITOR_NAME, compute=config.secure_aggregation.auditor)
    needed = config.secure_aggregation.mode == "two-aggregators"
    return ray_cohort(
        silos,
        run_id=run_id,
        folder=folder,
        cluster=config.cluster,
        policy=config.cohort,
        helpers=(auditor,) if needed else (),
    )


@task(
    name="Bring silos back",
    task_run_name="round-{round_number}-bring-back",
    cache_policy=NO_CACHE,
)
def bring_silos_back(cohort: Cohort, round_number: int) -> tuple[DecisionRecord, ...]:
    """Start silos again whose process died or hangs; a decision for each that is back.

    Args:
        cohort: the silos of the run.
        round_number: of the round that they join.
    """
    return tuple(
        DecisionRecord(
            run_id=cohort.run_id,
            round_number=round_number,
            verdict=Verdict.SILO_RETURNED.value,
            silo=silo,
            sentence=f"{before.reason}: {before.sentence}",
        )
        for silo, before in cohort.bring_back().items()
    )
