"""Every flow that people or schedules start, as one table.

`silorec ui` serves it on this machine, `silorec deploy` registers it on any Prefect
server, and `infra/prefect.yaml` is written from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from data_contracts.errors import UsageError
from data_contracts.presets import PRESETS, Tree
from data_contracts.run_config import FederatedTrainingConfig
from flows import DEFAULTS

TAG = "silorec"
WORK_POOL = "silorec"
SIDE_QUEUE = "beside-training"
HEARTBEAT_SECONDS = 30
RETRY_DELAY_SECONDS = 60

JOB_ENVIRONMENT: Mapping[str, str] = {
    **DEFAULTS,
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "SILOREC_LOG_FORMAT": "json",
}
"""Of every process that a worker starts: it must be set before Prefect is loaded."""

EXAMPLE: Tree = PRESETS["ml-100k"]


@dataclass(frozen=True)
class Deployment:
    """One entry of the table.

    Attributes:
        name: what follows the federation's name in the deployment's.
        entrypoint: module and flow; a path would load the flow outside its package.
        description: one sentence, shown above the form.
        parameters: what the form is filled with, of a training configuration.
        trains: takes its turn among the runs of its federation.
        cron: when it starts by itself; empty: never.
        retries: of a flow run that failed; a training continues where it stopped.
    """

    name: str
    entrypoint: str
    description: str
    parameters: Callable[[Tree], Tree]
    trains: bool = False
    cron: str = ""
    retries: int = 0

    @property
    def flow(self) -> Any:
        """The flow itself; loads Prefect."""
        module, _, name = self.entrypoint.rpartition(".")
        return getattr(import_module(module), name)

    @property
    def environment(self) -> dict[str, str]:
        """Of the process of a flow run."""
        if not self.retries:
            return dict(JOB_ENVIRONMENT)
        return {
            **JOB_ENVIRONMENT,
            "PREFECT_FLOWS_DEFAULT_RETRIES": str(self.retries),
            "PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS": str(RETRY_DELAY_SECONDS),
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be registered.

    Attributes:
        federation: name of its runs, in the name of every deployment and of the queue
            in which its trainings take turns.
        training: configuration that forms are filled with.
        entries: of the table.
        work_pool: where workers look for runs.
        folder: where a worker starts a run; relative paths count from there.
        cron: start times of entries, by name; an empty text: none.
        webhook: address that is told of failures; empty: nobody is.
    """

    federation: str
    training: Tree
    entries: Sequence[Deployment]
    work_pool: str
    folder: str
    cron: dict[str, str] = field(default_factory=dict)
    webhook: str = ""

    def name_of(self, entry: Deployment) -> str:
        """The deployment's name; several federations may share a server."""
        return f"{self.federation}-{entry.name}"

    def queue_of(self, entry: Deployment) -> str:
        """Whatever trains one federation takes turns in one queue."""
        return self.federation if entry.trains else SIDE_QUEUE

    def cron_of(self, entry: Deployment) -> str:
        """When it starts by itself."""
        return self.cron.get(entry.name, entry.cron)


def _the_training(config: Tree) -> Tree:
    return {"config": config}


def _defaults(config: Tree) -> Tree:
    return {"config": {}}


def _its_folder(config: Tree) -> Tree:
    default = FederatedTrainingConfig.model_fields["output_folder"].default
    return {"config": {"output_folder": config.get("output_folder", default)}}


TABLE: tuple[Deployment, ...] = (
    Deployment(
        "train", "flows.federated_training.federated_training",
        "Train one recommender over the silos of a federation.",
        _the_training, trains=True, retries=1,
    ),
    Deployment(
        "retrain", "flows.scheduled_retraining.scheduled_retraining",
        "Train on new data from the champion, and promote what passes the gate.",
        _the_training, trains=True, cron="0 3 * * 0", retries=1,
    ),
    Deployment(
        "recommend", "flows.batch_recommendation.batch_recommendation",
        "Write the best items for everybody into each silo's own table.",
        _its_folder,
    ),
    Deployment(
        "preflight", "flows.preflight.preflight",
        "Check everything that a run needs before it.",
        _the_training,
    ),
    Deployment(
        "audit", "flows.privacy_audit.privacy_audit",
        "Look for planted people in a privately trained model.",
        _defaults,
    ),
    Deployment(
        "example", "flows.tabular_training.tabular_training",
        "A plain model on made-up tables, held against pooled data.",
        _defaults,
    ),
    Deployment(
        "maintain", "flows.maintenance.maintenance",
        "Merge small files of the lineage tables, and remove what nothing needs.",
        _its_folder, cron="0 5 * * 0",
    ),
)  # fmt: skip


def pull_steps(folder: str) -> list[dict[str, Any]]:
    """What a run does before it imports its flow: go to its folder, fetch nothing.

    Without a step Prefect would copy the whole folder of the run into itself.
    """
    return [{"prefect.deployments.steps.set_working_directory": {"directory": folder}}]


def chosen(names: Sequence[str]) -> tuple[Deployment, ...]:
    """The entries of these names, or all of them.

    Raises:
        UsageError: there is none of such a name.
    """
    known = {entry.name: entry for entry in TABLE}
    for name in names:
        if name not in known:
            raise UsageError(
                f"there is no deployment {name}; the names are {', '.join(known)}"
            )
    return tuple(known[name] for name in names or known)
