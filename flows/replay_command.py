"""`silorec replay`: arguments -> flow -> findings."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict

from rich.console import Console

from data_contracts.errors import CheckFailedError
from flows.on_this_terminal import ready_for_flows


def add_replay_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    add_output_folder: Callable[[argparse.ArgumentParser], None],
) -> None:
    """The command and its flags."""
    text = "compute a recorded round again and compare"
    parser = commands.add_parser(
        "replay", help=text, description=f"{text}.".capitalize()
    )
    parser.set_defaults(command=replay_round)
    parser.add_argument("run", help="run id or its beginning")
    parser.add_argument(
        "--round", type=int, required=True, metavar="N", dest="round_number",
        help="the round to compute again",
    )  # fmt: skip
    parser.add_argument(
        "--from-start", action="store_true",
        help="all rounds before it, too, up to the first that differs",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--verbose", action="store_true", help="show the log of Prefect as well"
    )
    add_output_folder(parser)


def replay_round(arguments: argparse.Namespace) -> None:
    """`silorec replay`.

    Raises:
        CheckFailedError: the round came out differently.
    """
    with ready_for_flows(verbose=arguments.verbose):
        from flows.replay import replay

        found = replay(
            arguments.run,
            arguments.round_number,
            arguments.output_folder,
            arguments.from_start,
        )
    if arguments.json:
        print(json.dumps(asdict(found) | {"equal": found.equal}, indent=2))
    else:
        from tasks.lineage.replay_rendering import replay_table

        Console().print(replay_table(found))
    if not found.equal:
        last = found.rounds[-1]
        raise CheckFailedError(f"run {found.run_id}: {last.sentence()}")
