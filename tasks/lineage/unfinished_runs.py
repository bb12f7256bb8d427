"""Which run a flow continues: the one it is told, its own, or one like it."""

from __future__ import annotations

from operator import attrgetter

from data_contracts.code_identity import code_hash
from data_contracts.errors import ResumeError
from data_contracts.records import RunRecord, RunStatus
from data_contracts.run_config import FederatedTrainingConfig
from tasks.lineage.queries import find_run, runs
from tasks.lineage.run_lock import is_worked_on
from tasks.lineage.run_state import run_folder, state_files
from tasks.lineage.store import LineageStore


def run_to_continue(
    store: LineageStore,
    store_folder: str,
    config: FederatedTrainingConfig,
    *,
    flow_run_id: str,
    wanted: str | None,
) -> RunRecord | None:
    """The current row of the run that goes on now; None: a new one begins.

    * `wanted`: exactly this run, or none;
    * a flow run that Prefect starts again goes on with its own run;
    * `config.continue_unfinished`: the latest run that was asked to do the same with
      the same code, finished a round, did not end, and has no process any more.

    Raises:
        ResumeError: the wanted run has ended, or does something else.
        NotRecordedError: there is no wanted run.
    """
    if wanted is not None:
        return _wanted(store, config, wanted)
    if own := _of_flow_run(store, flow_run_id):
        require_open(own)
        return own
    for run in runs(store) if config.continue_unfinished else ():
        folder = run_folder(store_folder, run.run_id)
        like_it = (run.name, run.config_hash, run.code_hash) == (
            config.name, config.config_hash(), code_hash(),
        )  # fmt: skip
        is_open = run.status != RunStatus.COMPLETED
        if is_open and like_it and state_files(folder) and not is_worked_on(folder):
            return run
    return None


def require_open(run: RunRecord) -> None:
    """Refuse to go on with a run that published its model.

    Raises:
        ResumeError: it did.
    """
    if run.status == RunStatus.COMPLETED:
        raise ResumeError(
            f"run {run.run_id} is completed and nothing is left to continue; its "
            f"report is written again by silorec report {run.run_id}"
        )


def _wanted(
    store: LineageStore, config: FederatedTrainingConfig, wanted: str
) -> RunRecord:
    run = find_run(store, wanted)
    require_open(run)
    if run.config_hash != config.config_hash():
        raise ResumeError(
            f"run {run.run_id} was asked to do something else (config hash "
            f"{run.config_hash[:12]}, now {config.config_hash()[:12]}); resume it with "
            "its own configuration, or start a new run"
        )
    return run


def _of_flow_run(store: LineageStore, flow_run_id: str) -> RunRecord | None:
    if not flow_run_id:
        return None
    rows = store.read(RunRecord)
    mine = {row.run_id for row in rows if row.flow_run_id == flow_run_id}
    return max(
        (row for row in rows if row.run_id in mine),
        key=attrgetter("sequence"),
        default=None,
    )
