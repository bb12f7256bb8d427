"""The tasks that keep the record: start, admission, rounds, end, and model files.

Each may be repeated: a step of a run is written once, whoever asks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from data_contracts.progress import announce
from data_contracts.records import (
    ContractRecord,
    MetricRecord,
    ModelVersionRecord,
    Record,
    RunHistory,
    RunStatus,
)
from data_contracts.replay import Replay
from data_contracts.round_outcome import RoundOutcome
from data_contracts.stopwatch import now_utc
from data_contracts.workspace import SiloFailure
from models.parameters import Vector
from models.recommenders.building import layout_for
from models.vocabulary import Vocabulary
from tasks.lineage.model_files import LoadedModel, load_model, save_model
from tasks.lineage.queries import history
from tasks.lineage.recorded_rounds import RecordedRounds, recorded_rounds
from tasks.lineage.recorded_run import RecordedRun
from tasks.lineage.store import open_store


@task(
    name="Record start",
    task_run_name="Record start of {run.run_id}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def record_start(run: RecordedRun) -> None:
    """Put the run on record, before anything else of it.

    Raises:
        LineageError: the store cannot be written.
    """
    _append(run, "status-0", [run.row])


@task(
    name="Record admission",
    task_run_name="Record admission to {run.run_id}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def record_admission(
    run: RecordedRun,
    contracts: Sequence[ContractRecord],
    quarantined: Mapping[str, str],
) -> None:
    """Record every contract result, and who was quarantined with which sentence.

    Raises:
        LineageError: the store cannot be written.
    """
    _append(run, "admission", [*contracts, *run.quarantined(quarantined)])


@task(
    name="Record departures",
    task_run_name="Record departures from {run.run_id}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def record_departures(run: RecordedRun, failures: Mapping[str, SiloFailure]) -> None:
    """Record admitted silos that could not be prepared, and say so.

    Raises:
        LineageError: the store cannot be written.
    """
    reports = {
        silo: f"silo {silo} is quarantined: {failure.reason}: {failure.sentence}"
        for silo, failure in failures.items()
    }
    for sentence in reports.values():
        announce().note(sentence)
    _append(run, "departures", run.quarantined(reports))


@task(
    name="Record round",
    task_run_name="round-{outcome.round_number}-record",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def record_round(
    run: RecordedRun,
    outcome: RoundOutcome,
    model: Vector,
    vocabulary: Vocabulary,
    previous: ModelVersionRecord | str,
) -> ModelVersionRecord:
    """Save the model that a round leaves behind, and record the round; all or nothing.

    Safe on disk when this returns; the tables are written while the next round trains.

    Args:
        run: the run.
        outcome: what happened in the round.
        model: float32 [d], finite.
        vocabulary: its items.
        previous: the version before, or the hash of a base model, or nothing.

    Raises:
        LineageError: the model is not finite or the folder cannot be written.
    """
    architecture = run.config.model
    file = save_model(
        Path(run.store_folder),
        layout_for(architecture, vocabulary.size).split(model),
        {"model": architecture.model_dump_json(exclude={"init_from"})},
        vocabulary.items,
    )
    version = run.model_version(outcome.round_number, file, previous)
    open_store(run.store_folder).begin(
        [version, *outcome.records(version.sha256)],
        run_id=run.run_id,
        step=f"round-{outcome.round_number}",
        code_hash=run.row.code_hash,
    )
    return version


@task(
    name="Publish model",
    task_run_name="Publish model of {run.run_id}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def publish_model(
    run: RecordedRun, best: ModelVersionRecord, metrics: Sequence[MetricRecord]
) -> ModelVersionRecord:
    """Record the model that the run stands for, its figures, and the run's end.

    Raises:
        LineageError: the store cannot be written.
    """
    published = replace(best, published=True, at=now_utc().isoformat())
    end = run.ended(RunStatus.COMPLETED, "")
    _append(run, "status-1", [published, *metrics, end])
    open_store(run.store_folder).compact()
    return published


@task(
    name="Record end",
    task_run_name="Record end of {run.run_id}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def record_end(run: RecordedRun, status: RunStatus, message: str) -> None:
    """Record how a run ended that publishes nothing.

    Raises:
        LineageError: the store cannot be written.
    """
    _append(run, "status-1", [run.ended(status, message)])


@task(name="Load checkpoint", cache_policy=NO_CACHE)
def load_checkpoint(path: str | None) -> LoadedModel | None:
    """Read and verify the model that a run starts from; None starts afresh.

    Raises:
        LineageError: missing or damaged.
    """
    return None if path is None else load_model(Path(path).expanduser())


@task(name="Read history", cache_policy=NO_CACHE)
def read_history(run: RecordedRun) -> RunHistory:
    """All that is on record of a run."""
    return history(open_store(run.store_folder), run.run_id)


@task(name="Read recorded rounds", cache_policy=NO_CACHE)
def read_recorded_rounds(
    output_folder: str, run: str, round_number: int, *, from_start: bool
) -> RecordedRounds:
    """What a round, and those that it follows from, can be computed again from.

    Raises:
        NotRecordedError: no such run, or it has no such round.
        UsageError: the round cannot be computed again.
        LineageError: a model file is gone or damaged.
    """
    folder = Path(output_folder).expanduser().resolve()
    told = history(open_store(output_folder), run)
    return recorded_rounds(told, folder, round_number, from_start=from_start)


@task(name="Publish replay", cache_policy=NO_CACHE)
def publish_replay(found: Replay) -> None:
    """Show what was found on the flow run's page."""
    create_table_artifact(
        [
            {
                "round": str(one.round_number),
                "recorded": one.recorded_sha256,
                "computed again": one.replayed_sha256,
                "found": one.sentence(),
            }
            for one in found.rounds
        ],
        key="replay",
        description=f"Rounds of run {found.run_id}, computed again.",
    )


def _append(run: RecordedRun, step: str, records: Sequence[Record]) -> None:
    open_store(run.store_folder).append(
        records, run_id=run.run_id, step=step, code_hash=run.row.code_hash
    )
