"""`silorec preflight`: arguments -> typed configuration -> flow -> findings."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from rich.console import Console

from data_contracts.errors import CheckFailedError
from flows.cli_options import config_from
from flows.on_this_terminal import ready_for_flows


def add_preflight_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    add_config_arguments: Callable[[argparse.ArgumentParser], None],
) -> None:
    """The command and its flags: those of `silorec train`, and a few of its own."""
    text = "check everything before hours are spent"
    parser = commands.add_parser(
        "preflight", help=text, description=f"{text.capitalize()}."
    )
    parser.set_defaults(command=check_before_flight)
    add_config_arguments(parser)
    parser.add_argument(
        "--price-per-hour", type=float, metavar="PRICE",
        help="of all machines together, for an estimate of the cost",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--verbose", action="store_true", help="show the log of Prefect as well"
    )


def check_before_flight(arguments: argparse.Namespace) -> None:
    """`silorec preflight`.

    Raises:
        CheckFailedError: the real run would not get through.
    """
    config = config_from(arguments)
    with ready_for_flows(verbose=arguments.verbose):
        from flows.preflight import preflight

        report = preflight(config, arguments.price_per_hour)
    from tasks.preflight import rendering

    if arguments.json:
        print(json.dumps(rendering.as_json(report), indent=2))
    else:
        Console().print(rendering.preflight_view(report))
    if report.failed:
        raise CheckFailedError(
            f"{len(report.failed)} of {len(report.checks)} checks failed: "
            f"{', '.join(dict.fromkeys(check.name for check in report.failed))}"
        )
