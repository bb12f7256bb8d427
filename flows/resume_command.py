"""`silorec resume`: go on with an interrupted run after its last finished round."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from data_contracts.run_config import FederatedTrainingConfig, parse_config

if TYPE_CHECKING:
    from tasks.lineage.store import LineageStore


def add_resume_command(parser: argparse.ArgumentParser, output_folder: str) -> None:
    """The arguments of `silorec resume`."""
    parser.add_argument("run", help="run id or its beginning")
    parser.add_argument(
        "--output-folder",
        default=output_folder,
        help="output folder of the runs (default: %(default)s)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="show the log of Prefect as well"
    )


def resume_run(arguments: argparse.Namespace) -> None:
    """`silorec resume`: with the run's own configuration, as it is on record.

    A run that published its model gets its report, which may be all that is missing.
    """
    from data_contracts.records import RunStatus
    from flows.training_command import print_results, run_training
    from tasks.lineage.queries import find_run, history
    from tasks.lineage.store import open_store
    from tasks.reporting.report import report_path, write_report

    store = open_store(arguments.output_folder)
    run_id = find_run(store, arguments.run).run_id
    finish_what_died(store, run_id)
    run = find_run(store, run_id)
    config = recorded_config(run.config_json, arguments.output_folder, run.run_id)
    if run.status != RunStatus.COMPLETED:
        run_training(config, verbose=arguments.verbose, resume=run.run_id)
        return
    told = history(store, run.run_id)
    write_report(told, report_path(told, arguments.output_folder))
    print_results(config, run.run_id)


def finish_what_died(store: LineageStore, run_id: str) -> None:
    """Record what a dead process had begun to record of the run, its end perhaps.

    Raises:
        ResumeError: a living process works on the run.
    """
    from tasks.lineage.run_lock import sole_worker
    from tasks.lineage.run_state import run_folder

    with sole_worker(run_folder(store.folder, run_id)):
        store.settle(run_id)


def recorded_config(
    config_json: str, output_folder: str, run_id: str
) -> FederatedTrainingConfig:
    """The configuration of a recorded run, with its files where they lie now.

    Raises:
        ConfigError: another version of silorec recorded it.
    """
    tree = json.loads(config_json) | {"output_folder": output_folder}
    return parse_config(tree, origin=f"the configuration of run {run_id}")
