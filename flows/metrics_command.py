"""`silorec metrics`: the lineage tables as Prometheus metrics."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from data_contracts.run_config import FederatedTrainingConfig

Command = Callable[[argparse.Namespace], None]
AddCommand = Callable[[str, Command, str], argparse.ArgumentParser]

DEFAULT_OUTPUT = FederatedTrainingConfig.model_fields["output_folder"].default


def add_metrics_command(add: AddCommand) -> None:
    """The arguments.

    Args:
        add: makes a command of a name, what it calls, and what it does in words.
    """
    metrics = add("metrics", tell_metrics, "tell Prometheus how federations stand")
    metrics.add_argument(
        "output_folder",
        nargs="?",
        default=DEFAULT_OUTPUT,
        metavar="OUTPUT",
        help="output folder of the runs (default: %(default)s)",
    )
    metrics.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (%(default)s)"
    )
    metrics.add_argument(
        "--port", type=int, default=9464, help="port to listen at (%(default)s)"
    )
    instead = metrics.add_mutually_exclusive_group()
    instead.add_argument(
        "--once", action="store_true", help="print them once and serve nothing"
    )
    instead.add_argument(
        "--textfile",
        metavar="PATH",
        type=Path,
        help="write them once into a file for node_exporter's textfile collector",
    )


def tell_metrics(arguments: argparse.Namespace) -> None:
    """`silorec metrics`."""
    # Imported late: `--help` needs no Delta.
    from tasks.lineage.federations import federation_records
    from tasks.lineage.store import open_store
    from tasks.observability import exporter

    store = open_store(str(Path(arguments.output_folder).expanduser().resolve()))
    registry = exporter.metrics_registry(lambda: federation_records(store))
    if arguments.once:
        print(exporter.metrics_text(registry), end="")
    elif arguments.textfile is not None:
        exporter.write_textfile(registry, arguments.textfile)
    else:
        host, port = arguments.host, arguments.port
        print(f"metrics of {store.folder}: http://{host}:{port}/metrics", flush=True)
        exporter.serve_metrics(registry, host, port)
