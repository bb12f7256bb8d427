"""Prefect-facing edge of the cohort room: opening the cohort of a run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.cohort import AUDITOR_NAME, SiloConfig
from tasks.cohort.actor import RayCohort, ray_cohort


def open_cohort(
    silos: Iterable[SiloConfig], config: FederatedTrainingConfig, run_id: str
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
        helpers=(auditor,) if needed else (),
    )
