"""`silorec maintain` and `silorec doctor`: keep an output folder small, and whole."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from data_contracts.errors import ConfigError
from data_contracts.health import Finding, Severity, UnhealthyError, repair
from data_contracts.run_config import FederatedTrainingConfig, explain
from data_contracts.settings.maintenance import MaintenanceConfig

Command = Callable[[argparse.Namespace], None]
AddCommand = Callable[[str, Command, str], argparse.ArgumentParser]

DEFAULT_OUTPUT = FederatedTrainingConfig.model_fields["output_folder"].default


def add_maintenance_commands(add: AddCommand) -> None:
    """The arguments of both commands.

    Args:
        add: makes a command of a name, what it calls, and what it does in words.
    """
    maintain = add("maintain", maintain_folder, "merge files, remove unneeded ones")
    _add_folder(maintain)
    fields = MaintenanceConfig.model_fields
    maintain.add_argument(
        "--remove", action="store_true", help=fields["remove"].description
    )
    maintain.add_argument(
        "--tables", nargs="+", metavar="TABLE", help=fields["tables"].description
    )
    for name in ("retention_hours", "orphan_hours"):
        field = fields[name]
        maintain.add_argument(
            "--" + name.replace("_", "-"),
            metavar="HOURS",
            help=f"{field.description} Default: {field.default}.",
        )
    maintain.add_argument("--json", action="store_true", help="print JSON")

    doctor = add("doctor", examine, "find what is wrong here, and repair it")
    _add_folder(doctor)
    doctor.add_argument(
        "--repair",
        action="store_true",
        help="put right what can be put right without losing anything",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")


def maintain_folder(arguments: argparse.Namespace) -> None:
    """`silorec maintain`."""
    # Imported late: `--help` needs no Delta.
    from tasks.lineage.maintenance import maintain

    upkeep = maintain(maintenance_config(arguments))
    if arguments.json:
        print(json.dumps(upkeep.as_json(), indent=2))
        return
    for sentence in upkeep.sentences():
        print(sentence)
    if not upkeep.removed:
        print("nothing was removed; to remove it, give --remove")


def maintenance_config(arguments: argparse.Namespace) -> MaintenanceConfig:
    """The settings behind the flags.

    Raises:
        ConfigError: one sentence per mistake.
    """
    given = {
        name: value
        for name in MaintenanceConfig.model_fields
        if (value := getattr(arguments, name)) is not None
    }
    try:
        return MaintenanceConfig.model_validate(given)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, "command line"))) from None


def examine(arguments: argparse.Namespace) -> None:
    """`silorec doctor`.

    Raises:
        UnhealthyError: problems were found and are still there.
    """
    folder = Path(arguments.output_folder).expanduser().resolve()
    find = partial(all_findings, folder)
    done, findings = repair(find) if arguments.repair else ((), find())
    problems = [f for f in findings if f.severity is Severity.PROBLEM]
    if arguments.json:
        told = [finding.as_json() for finding in findings]
        result = {"healthy": not problems, "repaired": done, "findings": told}
        print(json.dumps(result, indent=2))
    else:
        for sentence in done:
            print(f"repaired: {sentence}")
        for finding in findings:
            print(f"{finding.severity.value}: {finding.sentence}")
    if problems:
        plural = "problem" if len(problems) == 1 else "problems"
        raise UnhealthyError(
            f"{len(problems)} {plural} found in {folder} or on this machine"
        )
    if not arguments.json:
        print(f"{folder} and this machine are sound")


def all_findings(folder: Path) -> tuple[Finding, ...]:
    """What is wrong with this machine, then with the output folder.

    A table that cannot be read without its library is left to the first.
    """
    from flows.installation_checks import installation_findings

    found = installation_findings(folder)
    try:
        from tasks.lineage.health import folder_findings
    except ImportError:
        return found
    return (*found, *folder_findings(folder))


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "output_folder",
        nargs="?",
        default=DEFAULT_OUTPUT,
        metavar="OUTPUT",
        help="output folder of the runs (default: %(default)s)",
    )
