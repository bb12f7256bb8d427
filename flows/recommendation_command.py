"""`silorec recommend`: arguments -> flow -> what every silo did."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from data_contracts.errors import QuorumLostError
from data_contracts.settings.recommendation import BatchRecommendationConfig
from flows.cli_options import add_setting_flags, recommendation_config_from
from flows.on_this_terminal import ready_for_flows


def add_recommendation_command(parser: argparse.ArgumentParser) -> None:
    """The arguments of `silorec recommend`."""
    parser.usage = f"{parser.prog} [FILE] [--SECTION.KEY VALUE ...]"
    parser.add_argument("config", nargs="?", metavar="FILE", help="YAML configuration")
    parser.add_argument(
        "--verbose", action="store_true", help="show the log of Prefect as well"
    )
    add_setting_flags(parser, BatchRecommendationConfig)


def recommend_to_everybody(arguments: argparse.Namespace) -> None:
    """`silorec recommend`.

    Raises:
        QuorumLostError: no silo could recommend anything.
    """
    config = recommendation_config_from(arguments)
    with ready_for_flows(verbose=arguments.verbose):
        from flows.batch_recommendation import batch_recommendation

        found = batch_recommendation(config)
    from tasks.recommendation.task import recommendation_rows

    rows = recommendation_rows(found)
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.title = f"Recommendations by model {found.model_sha256[:12]}"
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
    if not found.receipts:
        raise QuorumLostError(
            "no silo recommended anything; the reasons are in the table above"
        )
