"""The tasks that keep the record: start, admission, rounds, end, and model files.

Each may be repeated: a step of a run is written once, whoever asks again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from data_contracts.code_identity import code_hash
from data_contracts.health import Upkeep
from data_contracts.privacy_audit import AuditResult
from data_contracts.privacy_plan import BudgetStatement, PrivacyPlan
from data_contracts.progress import announce
from data_contracts.records import (
    ContractRecord,
    MetricRecord,
    ModelVersionRecord,
    PrivacyRecord,
    Record,
    RunHistory,
    RunStatus,
)
from data_contracts.replay import Replay
from data_contracts.round_outcome import RoundOutcome
from data_contracts.settings.maintenance import MaintenanceConfig
from data_contracts.stopwatch import now_utc
from data_contracts.workspace import SiloFailure
from models.recommenders.building import layout_over
from models.recommenders.saved import ARCHITECTURE
from models.vocabulary import FEATURE_NAMES, Vocabulary
from tasks.lineage.ancestry import which_made
from tasks.lineage.maintenance import maintain
from tasks.lineage.model_card import model_card
from tasks.lineage.model_files import LoadedModel, load_model, save_model
from tasks.lineage.queries import history
from tasks.lineage.recorded_rounds import RecordedRounds, recorded_rounds
from tasks.lineage.recorded_run import RecordedRun
from tasks.lineage.run_state import (
    RunState,
    read_state,
    require_same_silos,
    write_state,
)
from tasks.lineage.signatures import sign_model
from tasks.lineage.store import open_store
from tasks.lineage.write_ahead import Commit


@task(
    name="Record start",
    task_run_name="Record start of {run.run_id}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def record_start(run: RecordedRun) -> None:
    """Put the run on record, or back on it, before anything else of it.

    Raises:
        LineageError: the store cannot be written.
    """
    _append(run, f"status-{run.row.sequence}", [run.row])


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
    name="Record privacy",
    task_run_name="Record privacy of {run.run_id}, {entry}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def record_privacy(
    run: RecordedRun,
    entry: str,
    statements: Mapping[str, BudgetStatement],
    plan: PrivacyPlan,
) -> None:
    """Record what every silo's privacy ledger says, and its hash.

    Args:
        run: the run.
        entry: `charged` or `settled`.
        statements: silo -> its ledger.
        plan: what was charged.

    Raises:
        LineageError: the store cannot be written.
    """
    privacy, training = run.config.privacy, plan.training
    rows = [
        PrivacyRecord(
            run_id=run.run_id,
            silo=silo,
            entry=entry,
            at=now_utc().isoformat(),
            mode=privacy.mode,
            metrics=privacy.metrics,
            epsilon=told.epsilon,
            budget=told.budget,
            delta=told.delta,
            period=privacy.period,
            noise_multiplier=training.noise_multiplier,
            sampling_probability=training.sampling_probability,
            steps=training.steps,
            ledger_entries=told.entries,
            ledger_head=told.head,
        )
        for silo, told in statements.items()
    ]
    _append(run, f"privacy-{entry}", rows)


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
    state: RunState,
    vocabulary: Vocabulary,
) -> RunState:
    """Save the model that a round leaves behind, and record the round; all or nothing.

    Safe on disk when this returns; the tables are written while the next round trains.
    What dies from now on, the run can be continued after this round.

    Args:
        run: the run.
        outcome: what happened in the round.
        state: after the round.
        vocabulary: items of the model.

    Raises:
        LineageError: the model is not finite or the folder cannot be written.
    """
    architecture = run.config.model
    tensors = layout_over(architecture, vocabulary).split(state.model.vector)
    file = save_model(
        Path(run.store_folder),
        tensors | vocabulary.frozen,
        {
            ARCHITECTURE: architecture.model_dump_json(exclude={"init_from"}),
            FEATURE_NAMES: json.dumps(vocabulary.feature_names, ensure_ascii=False),
        },
        vocabulary.items,
    )
    previous = state.version or state.base_sha256
    version = run.model_version(outcome.round_number, file, previous)
    records = (version, *outcome.records(version.sha256))
    step = f"round-{outcome.round_number}"
    commit = Commit(run.run_id, step, run.row.code_hash, records)
    recorded = state.recorded(version)
    write_state(run.folder, recorded, commit, run.config)
    open_store(run.store_folder).begin_commit(commit)
    return recorded


@task(name="Continue run", cache_policy=NO_CACHE)
def continue_run(run: RecordedRun, start: RunState, vocabulary: Vocabulary) -> RunState:
    """The state after the last finished round; `start`, if there is none.

    Args:
        run: the run.
        start: as it stands before round 1.
        vocabulary: items of the model.

    Raises:
        ResumeError: other silos or other data than before, or the state is damaged.
        LineageError: the model is missing or damaged, or storage failed.
    """
    found = read_state(run.folder, run.config, vocabulary) if run.row.sequence else None
    if found is None:
        return start
    state, commit = found
    require_same_silos(run.run_id, state, start)
    # The tables may lack the rows of a round whose process died right after it.
    open_store(run.store_folder).begin_commit(commit)
    announce().note(
        f"Run {run.run_id} continues after round {state.round_number} of "
        f"{run.config.schedule.rounds}."
    )
    # A silo that fails while sizes are summed would change the weights of all.
    return replace(state, total_examples=state.total_examples or start.total_examples)


@task(
    name="Publish model",
    task_run_name="Publish model of {run.run_id}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def publish_model(
    run: RecordedRun, best: ModelVersionRecord | None, metrics: Sequence[MetricRecord]
) -> ModelVersionRecord:
    """Record the model that the run stands for, its figures, and the end; sign it.

    Raises:
        LineageError: the store cannot be written.
    """
    assert best is not None, "a schedule has at least one round"
    published = replace(best, published=True, at=now_utc().isoformat())
    end = run.ended(RunStatus.COMPLETED, "")
    _append(run, f"status-{end.sequence}", [published, *metrics, end])
    store = open_store(run.store_folder)
    store.compact()
    card = model_card(history(store, run.run_id), published)
    sign_model(store.folder, published, card)
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
    end = run.ended(status, message)
    _append(run, f"status-{end.sequence}", [end])


@task(name="Load checkpoint", cache_policy=NO_CACHE)
def load_checkpoint(path: str | None) -> LoadedModel | None:
    """Read and verify the model that a run starts from; None starts afresh.

    Raises:
        LineageError: missing or damaged.
    """
    return None if path is None else load_model(Path(path).expanduser())


@task(name="Find model version", cache_policy=NO_CACHE)
def find_model_version(folder: str, model_or_run: str | None) -> str:
    """SHA-256 of the recorded model that starts so; empty for None.

    Raises:
        NotRecordedError: nothing recorded starts so, or more than one thing does.
    """
    if model_or_run is None:
        return ""
    return which_made(open_store(_resolved(folder)), model_or_run).model.sha256


@task(
    name="Record audit",
    task_run_name="Record {result.audit_id}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def record_audit(folder: str, result: AuditResult) -> None:
    """Record what a privacy audit found, all families or none.

    Raises:
        LineageError: the store cannot be written.
    """
    own = code_hash()
    open_store(_resolved(folder)).append(
        result.records(own), run_id=result.audit_id, step="audit", code_hash=own
    )


@task(name="Read history", cache_policy=NO_CACHE)
def read_history(run: RecordedRun) -> RunHistory:
    """All that is on record of a run."""
    return history(open_store(run.store_folder), run.run_id)


def _resolved(folder: str) -> str:
    return str(Path(folder).expanduser().resolve())


@task(
    name="Look after lineage",
    task_run_name="Look after {config.output_folder}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
)
def look_after_lineage(config: MaintenanceConfig) -> Upkeep:
    """Merge small files, and remove what nothing needs, where that is asked for.

    Raises:
        LineageError: something is wrong with the tables, or storage failed.
    """
    upkeep = maintain(config)
    for sentence in upkeep.sentences():
        announce().note(sentence)
    return upkeep


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
