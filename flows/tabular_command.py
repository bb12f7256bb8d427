"""`silorec train --example`: a worked example on a plain table, start to picture."""

from __future__ import annotations

import argparse
from typing import get_args

from rich.console import Console

from data_contracts.tabular import ExampleName, TabularConfig
from flows.cli_options import add_setting_flags, example_config_from
from flows.on_this_terminal import ready_for_flows


def add_example_arguments(parser: argparse.ArgumentParser) -> None:
    """The flag, and the settings that only examples have."""
    parser.add_argument(
        "--example",
        choices=get_args(ExampleName),
        help="a plain model on made-up tables of two silos, held against pooled data, "
        "with a picture",
    )
    add_setting_flags(parser, TabularConfig, ("tabular",))


def run_example(arguments: argparse.Namespace) -> None:
    """`silorec train --example NAME`.

    Raises:
        ConfigError: one sentence per mistake.
    """
    config = example_config_from(arguments)
    with ready_for_flows(verbose=arguments.verbose):
        from flows.tabular_training import tabular_training

        result = tabular_training(config)
    from tasks.reporting.tabular_page import tabular_table

    Console().print(tabular_table(result, config.output_folder))
