"""Prefect edge of the preflight room."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from data_contracts.errors import ConfigError
from data_contracts.preflight import (
    CanaryRound,
    EvaluationSample,
    PreflightReport,
    SiloMeasurement,
    SiloResources,
    TrainingSample,
)
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.secure_sum import SecureSum
from data_contracts.workspace import Cohort, SiloReplies
from tasks.preflight.checklist import Checklist
from tasks.preflight.checks import (
    check_deadline,
    check_memory,
    check_output_disk,
    check_silo_disks,
)
from tasks.preflight.estimate import estimate_run
from tasks.preflight.rendering import check_rows, estimate_lines
from tasks.preflight.silo_side import measure_resources


@task(name="Measure resources", cache_policy=NO_CACHE)
def measure_on_silos(
    cohort: Cohort, deadline_seconds: float
) -> SiloReplies[SiloResources]:
    """Memory, disk and code of every silo, as they are now."""
    return cohort.call(measure_resources, deadline_seconds=deadline_seconds)


def measurements(
    training: Mapping[str, TrainingSample],
    evaluation: Mapping[str, EvaluationSample],
    resources: Mapping[str, SiloResources],
    summed: SecureSum,
) -> dict[str, SiloMeasurement]:
    """One measurement for each silo that went all the way."""
    return {
        silo: SiloMeasurement(
            training=training[silo],
            evaluation=evaluation[silo],
            resources=resources[silo],
            bytes_up=summed.bytes_up[silo],
        )
        for silo in summed.contributors
        if silo in evaluation and silo in resources
    }


def free_disk(output_folder: str) -> float:
    """Bytes free where the run will write; made, if it is not there.

    Raises:
        ConfigError: nothing can be written there.
    """
    folder = Path(output_folder).expanduser().resolve()
    probe = folder / ".preflight"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
        return float(shutil.disk_usage(folder).free)
    except OSError as error:
        raise ConfigError(
            f"output_folder {folder} cannot be written: {error.strerror}"
        ) from None


@task(name="Judge preflight", cache_policy=NO_CACHE)
def judge_preflight(
    checklist: Checklist,
    canary: CanaryRound | None,
    config: FederatedTrainingConfig,
    price_per_hour: float | None,
    free_output: float,
) -> PreflightReport:
    """The last checks and the estimate, where the tiny pass was completed."""
    estimate = None
    if canary is not None and canary.silos:
        estimate = estimate_run(canary, config, price_per_hour)
        checklist.add(
            check_deadline(canary, config),
            *check_memory(canary, config),
            *check_silo_disks(canary),
            check_output_disk(free_output, estimate),
        )
    return PreflightReport(
        name=config.name,
        checks=checklist.checks,
        canary=canary,
        estimate=estimate,
    )


@task(name="Publish preflight", cache_policy=NO_CACHE)
def publish_preflight(report: PreflightReport) -> None:
    """Show the checks and the estimate on the flow run's page."""
    create_table_artifact(
        check_rows(report), key="preflight-checks", description="Before the real run."
    )
    if report.estimate:
        lines = estimate_lines(report.estimate)
        create_table_artifact(
            [{"the real run": name, "about": value} for name, value in lines.items()],
            key="preflight-estimate",
            description=f"The real run, all {report.estimate.rounds} rounds.",
        )
