"""`silorec retrain`: arguments -> flow -> how it ended."""

from __future__ import annotations

import argparse

from data_contracts.records import RetrainingOutcome
from flows.cli_options import config_from
from flows.on_this_terminal import ready_for_flows


def retrain_model(arguments: argparse.Namespace) -> None:
    """`silorec retrain`."""
    config = config_from(arguments)
    with ready_for_flows(verbose=arguments.verbose):
        from flows.scheduled_retraining import scheduled_retraining

        record = scheduled_retraining(config)
    print(f"{record.outcome}: {record.sentence}")
    if record.outcome == RetrainingOutcome.AWAITS_APPROVAL:
        print(
            f"silorec models promote {record.challenger_sha256[:12]} --output-folder "
            f"{config.output_folder}  # puts it into use"
        )
