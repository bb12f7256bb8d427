"""The `silorec` command: arguments -> typed configuration -> flow; nothing else."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from data_contracts.errors import (
    ConfigError,
    SilorecError,
    UsageError,
)
from data_contracts.presets import DATASETS, PRESETS
from data_contracts.run_config import FederatedTrainingConfig
from flows.audit_command import add_audit_command, audit_privacy
from flows.cli_options import add_setting_flags, config_from, example_file
from flows.deploy_command import add_deploy_command
from flows.maintenance_commands import add_maintenance_commands
from flows.metrics_command import add_metrics_command
from flows.models_commands import add_models_commands
from flows.preflight_command import add_preflight_command
from flows.privacy_commands import add_privacy_commands
from flows.recommendation_command import (
    add_recommendation_command,
    recommend_to_everybody,
)
from flows.replay_command import add_replay_command
from flows.resume_command import add_resume_command, resume_run
from flows.retraining_command import retrain_model
from flows.serving_command import add_serving_command, serve_recommendations
from flows.tabular_command import add_example_arguments, run_example
from flows.training_command import run_training

Command = Callable[[argparse.Namespace], None]

DEFAULT_OUTPUT = FederatedTrainingConfig.model_fields["output_folder"].default


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0: done. 1: the run failed. 2: the input cannot be used. 130: interrupted.
    A run that is told to terminate ends by that signal: 143 in a shell.
    """
    chosen = build_parser().parse_args(arguments)
    command: Command = chosen.command
    try:
        command(chosen)
    except SilorecError as error:
        Console(stderr=True, highlight=False, markup=False).print(
            f"silorec: {error.message}", style="red", soft_wrap=True
        )
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("silorec: interrupted", file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    parser = argparse.ArgumentParser(
        prog="silorec",
        description="Federated training of recommender models across organisations "
        "that never pool their users' data.",
        epilog="Start with: silorec train --dataset ml-100k",
    )
    parser.add_argument("--version", action="version", version=version("silorec"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init = _command(commands, "init", write_example, "write a commented example file")
    init.add_argument("path", nargs="?", default="silorec.yaml", metavar="FILE")
    init.add_argument("--preset", choices=sorted(PRESETS), default="ml-100k")
    init.add_argument("--force", action="store_true", help="replace an existing file")

    check = _command(commands, "check", check_config, "explain every mistake in a file")
    _add_config_arguments(check)

    train = _command(commands, "train", train_model, "train one model in rounds")
    _add_config_arguments(train)
    add_example_arguments(train)
    retrain = _command(
        commands, "retrain", retrain_model, "train on new data, promote what is better"
    )
    _add_config_arguments(retrain)
    for parser_of_runs in (train, retrain):
        parser_of_runs.add_argument(
            "--verbose", action="store_true", help="show the log of Prefect as well"
        )

    recommend = _command(
        commands, "recommend", recommend_to_everybody, "recommend to everybody"
    )
    add_recommendation_command(recommend)
    serve = _command(
        commands, "serve", serve_recommendations, "answer requests inside a silo"
    )
    add_serving_command(serve)
    resume = _command(commands, "resume", resume_run, "continue an interrupted run")
    add_resume_command(resume, DEFAULT_OUTPUT)
    audit = _command(commands, "audit", audit_privacy, "look for canaries in a model")
    add_audit_command(audit)
    add_preflight_command(commands, _add_config_arguments)
    add_replay_command(commands, _add_output_folder)

    report = _command(commands, "report", write_report, "write a run's report again")
    report.add_argument("run", help="run id or its beginning")
    _add_output_folder(report)

    ui = _command(commands, "ui", start_ui, "see and start runs in the Prefect UI")
    ui.add_argument("--port", type=int, default=4200, help="default: %(default)s")

    silo = _command(commands, "silo", None, "who a silo is, and whom it believes")
    matters = silo.add_subparsers(required=True, metavar="MATTER")
    identity = _command(matters, "identity", show_identity, "print a silo's identity")
    adopt = _command(matters, "adopt", adopt_manifest, "give a silo its manifest")
    item_key = _command(matters, "item-key", give_item_key, "give a silo its item key")
    for matter in (identity, adopt, item_key):
        matter.add_argument("folder", help="the silo's own folder")
    adopt.add_argument("manifest", help="JSON file that the silos' people agreed on")
    adopt.add_argument(
        "--replace", action="store_true", help="take it in place of another one"
    )

    item_key.add_argument(
        "--copy-from", metavar="FILE", help="key of another silo; left out: a new key"
    )

    add_privacy_commands(commands, _command, _add_config_arguments)

    lineage = _command(commands, "lineage", None, "ask what went into which model")
    questions = lineage.add_subparsers(required=True, metavar="QUESTION")
    show = _command(questions, "show", show_lineage, "what made this model?")
    show.add_argument("model", help="model hash, run id, or the beginning of one")
    models = _command(questions, "models", list_models, "which models hold this data?")
    models.add_argument("--silo", required=True, help="name of the silo")
    models.add_argument("--snapshot", help="data snapshot hash or its beginning")
    runs = _command(questions, "runs", list_runs, "all runs, the latest first")
    for question in (show, models, runs):
        _add_output_folder(question)
        question.add_argument("--json", action="store_true", help="print JSON")
    add_models_commands(commands, _command, _add_output_folder)
    add_maintenance_commands(partial(_command, commands))
    add_metrics_command(partial(_command, commands))
    add_deploy_command(partial(_command, commands))
    return parser


def write_example(arguments: argparse.Namespace) -> None:
    """`silorec init`."""
    path = Path(arguments.path)
    if path.exists() and not arguments.force:
        raise ConfigError(f"{path} exists already; name another file or give --force")
    try:
        path.write_text(example_file(arguments.preset), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    print(f"wrote {path}; check it with: silorec check {path}")


def check_config(arguments: argparse.Namespace) -> None:
    """`silorec check`."""
    config = config_from(arguments)
    print(
        f"valid: {_cohort_text(config)}, {config.schedule.rounds} rounds of "
        f"{config.local_training.epochs} local epochs, "
        f"{config.secure_aggregation.mode} aggregation; "
        f"config hash {config.config_hash()[:12]}"
    )


def train_model(arguments: argparse.Namespace) -> None:
    """`silorec train`."""
    if arguments.example:
        run_example(arguments)
    else:
        run_training(config_from(arguments), verbose=arguments.verbose)


def write_report(arguments: argparse.Namespace) -> None:
    """`silorec report`."""
    from tasks.lineage.queries import history
    from tasks.lineage.store import open_store
    from tasks.reporting import report

    told = history(open_store(arguments.output_folder), arguments.run)
    path = report.report_path(told, arguments.output_folder)
    print(report.write_report(told, path))


def start_ui(arguments: argparse.Namespace) -> None:
    """`silorec ui`."""
    from flows.user_interface import serve_user_interface

    serve_user_interface(arguments.port)


def show_identity(arguments: argparse.Namespace) -> None:
    """`silorec silo identity`."""
    from tasks.secure_aggregation.manifest import identity_in

    folder = Path(arguments.folder)
    print(f'"{folder.resolve().name}": "{identity_in(folder).public.hex()}"')


def adopt_manifest(arguments: argparse.Namespace) -> None:
    """`silorec silo adopt`."""
    from tasks.secure_aggregation import manifest

    adopted = manifest.adopt_manifest(
        Path(arguments.folder), Path(arguments.manifest), replace=arguments.replace
    )
    print(
        f"{arguments.folder} takes part only with {', '.join(adopted.identities)} "
        f"(manifest {adopted.sha256[:12]})"
    )


def give_item_key(arguments: argparse.Namespace) -> None:
    """`silorec silo item-key`."""
    from tasks.vocabulary.item_key import ITEM_KEY, make_item_key

    folder, source = Path(arguments.folder), arguments.copy_from
    made = make_item_key(folder, None if source is None else Path(source))
    done = "was written" if made else "was there already"
    print(
        f"{folder / ITEM_KEY} {done}; hand it to the other silos, never to the "
        "coordinator"
    )


def show_lineage(arguments: argparse.Namespace) -> None:
    """`silorec lineage show`."""
    from tasks.lineage import rendering
    from tasks.lineage.ancestry import which_made
    from tasks.lineage.store import open_store

    lineage = which_made(open_store(arguments.output_folder), arguments.model)
    if arguments.json:
        print(json.dumps(rendering.as_json(lineage), indent=2))
    else:
        Console().print(rendering.lineage_view(lineage))


def list_models(arguments: argparse.Namespace) -> None:
    """`silorec lineage models`."""
    from tasks.lineage import rendering
    from tasks.lineage.ancestry import models_with
    from tasks.lineage.store import open_store

    found = models_with(
        open_store(arguments.output_folder), arguments.silo, arguments.snapshot
    )
    if arguments.json:
        print(json.dumps([rendering.as_json(model) for model in found], indent=2))
    else:
        Console().print(
            rendering.models_table(found, arguments.silo, arguments.snapshot)
        )


def list_runs(arguments: argparse.Namespace) -> None:
    """`silorec lineage runs`."""
    from tasks.lineage import rendering
    from tasks.lineage.queries import runs
    from tasks.lineage.store import open_store

    found = runs(open_store(arguments.output_folder))
    if arguments.json:
        print(json.dumps([rendering.as_json(run) for run in found], indent=2))
    else:
        Console().print(rendering.runs_table(found))


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Command | None,
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    if command is not None:
        parser.set_defaults(command=command)
    return parser


def _add_config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [FILE] [--dataset NAME] [--SECTION.KEY VALUE ...]"
    parser.add_argument("config", nargs="?", metavar="FILE", help="YAML configuration")
    parser.add_argument(
        "--dataset",
        choices=sorted(DATASETS),
        help="start from the recipe of a public data set",
    )
    add_setting_flags(parser)


def _add_output_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output-folder",
        default=DEFAULT_OUTPUT,
        help="output folder of the runs (default: %(default)s)",
    )


def _cohort_text(config: FederatedTrainingConfig) -> str:
    if config.data.dataset:
        return f"{config.data.dataset} split by {config.data.silo_split}"
    return f"{len(config.cohort.silos)} silos with their own tables"


if __name__ == "__main__":
    sys.exit(main())
