"""A run from its first row to its last: the record always says how it ended."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from data_contracts.code_identity import code_hash
from data_contracts.errors import QuorumLostError, SilorecError, UsageError
from data_contracts.progress import announce
from data_contracts.records import RunRecord, RunStatus
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.cohort import SiloConfig
from data_contracts.stopwatch import now_utc
from tasks.lineage.recorded_run import RecordedRun
from tasks.lineage.run_lock import sole_worker
from tasks.lineage.store import open_store
from tasks.lineage.task import record_end, record_start
from tasks.lineage.unfinished_runs import require_open, run_to_continue


@contextmanager
def recorded_run(
    config: FederatedTrainingConfig,
    silos: Sequence[SiloConfig],
    flow_run_id: str | None,
    resume: str | None = None,
) -> Iterator[RecordedRun]:
    """Put a run on record, or back on it; if the block raises, also that, and why.

    The message of an exception that is not ours may quote data: only its type is kept.

    Args:
        config: what the run does.
        silos: who was invited.
        flow_run_id: Prefect's name of this flow run.
        resume: the run to continue, or the beginning of its id; None: see
            `run_to_continue`.

    Raises:
        ResumeError: the run to continue has ended, does something else, or another
            process works on it.
    """
    folder = Path(config.output_folder).expanduser().resolve()
    store = open_store(str(folder))
    before = run_to_continue(
        store, str(folder), config, flow_run_id=flow_run_id or "", wanted=resume
    )
    row = (
        _first_row(config, len(silos), flow_run_id or "")
        if before is None
        else replace(before, flow_run_id=flow_run_id or "")
    )
    run = RecordedRun(str(folder), row, config)
    with sole_worker(run.folder):
        if before is not None:
            # Whoever began this has died: nobody else can hold the lock.
            store.settle(run.run_id)
            last = store.read(RunRecord, run_id=run.run_id)[-1]
            require_open(last)
            run = _continued(run, last)
        announce().run(run.run_id)
        record_start(run)
        try:
            yield run
        except QuorumLostError as lost:
            lost.run_id = run.run_id
            status = RunStatus.PAUSED if lost.waits_for else RunStatus.FAILED
            record_end(run, status, lost.message)
            raise
        except BaseException as error:
            reason = error.message if isinstance(error, SilorecError) else _kind(error)
            record_end(run, RunStatus.FAILED, reason)
            if not isinstance(error, UsageError):
                say_how_to_go_on(run.run_id)
            raise


def say_how_to_go_on(run_id: str) -> None:
    """What to type."""
    announce().note(
        f"Run {run_id} stopped; it goes on after its last finished round by: "
        f"silorec resume {run_id}"
    )


def _kind(error: BaseException) -> str:
    return f"stopped by {type(error).__name__}"


def _continued(run: RecordedRun, last: RunRecord) -> RecordedRun:
    """The run in its next stretch."""
    row = replace(
        last,
        sequence=last.sequence + 1,
        status=RunStatus.RUNNING,
        at=now_utc().isoformat(),
        code_hash=code_hash(),
        silorec_version=version("silorec"),
        flow_run_id=run.row.flow_run_id,
        message="",
    )
    earlier = () if last.status != RunStatus.RUNNING else (last.flow_run_id,)
    return replace(run, row=row, crashed_flow_runs=earlier)


def _first_row(
    config: FederatedTrainingConfig, num_silos: int, flow_run_id: str
) -> RunRecord:
    now = now_utc()
    return RunRecord(
        run_id=f"{config.name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        sequence=0,
        name=config.name,
        status=RunStatus.RUNNING,
        at=now.isoformat(),
        config_hash=config.config_hash(),
        config_json=config.model_dump_json(),
        code_hash=code_hash(),
        silorec_version=version("silorec"),
        flow_run_id=flow_run_id,
        silos=num_silos,
        message="",
    )
