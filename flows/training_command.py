"""From a configuration to a finished run in the terminal."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from data_contracts.errors import ServerLostError
from data_contracts.progress import listening
from data_contracts.run_config import FederatedTrainingConfig

QUIET_PREFECT = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
}


def run_training(
    config: FederatedTrainingConfig, *, verbose: bool, resume: str | None = None
) -> None:
    """Run the flow with its progress on the terminal, then print the results.

    Args:
        config: of the run.
        verbose: show the log of Prefect as well.
        resume: the run to continue.
    """
    if not verbose:
        be_quiet()
    # Imported late: Prefect, Ray and torch take seconds, and `--help` needs none.
    from tasks.reporting.terminal import terminal_progress

    with terminal_progress() as progress, listening(progress):
        progress.stage("Starting Prefect and Ray")
        from flows.embedded_server import start_embedded_server
        from flows.federated_training import federated_training

        start_embedded_server()
        with server_losses_explained():
            version = federated_training(config, resume)
    print_results(config, version.run_id)


def be_quiet() -> None:
    """Keep Prefect's own log out of the terminal, unless the user wants it."""
    for name, value in QUIET_PREFECT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("prefect._internal").setLevel(logging.CRITICAL)


@contextmanager
def server_losses_explained() -> Iterator[None]:
    """One sentence, should the Prefect server die while a run needs it.

    Raises:
        ServerLostError: it did; the run keeps its state.
    """
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        raise ServerLostError(
            f"the Prefect server does not answer any more ({type(error).__name__}): "
            "start it again, or unset PREFECT_API_URL to do without, and resume the "
            "run; its finished rounds are safe"
        ) from None


def print_results(config: FederatedTrainingConfig, run_id: str) -> None:
    """The final table of a run, and where its report lies."""
    from tasks.lineage.queries import history
    from tasks.lineage.store import open_store
    from tasks.reporting.report import report_path
    from tasks.reporting.terminal import final_table

    told = history(open_store(config.output_folder), run_id)
    Console().print(final_table(told, str(report_path(told, config.output_folder))))
