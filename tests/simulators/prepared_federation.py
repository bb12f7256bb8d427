"""A federation of synthetic silos in this process, as far as training can start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from tasks.ingestion.task import load_silo_tables
from tasks.preprocessing.task import preprocess_on_silos
from tasks.secure_aggregation.task import aggregate_securely
from tasks.vocabulary.task import agree_on_vocabulary
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.synthetic_tables import synthetic_silo

SETTINGS = {
    "model": {"dim": 16, "context": 16, "dropout": 0.1},
    "local_training": {
        "epochs": 2,
        "windows": "random",
        "batch_size": 16,
        "learning_rate": 1e-2,
        "precision": "float32",
    },
    "schedule": {"rounds": 2},
}


class PreparedFederation:
    """Silos with sequences, a vocabulary, and what the rooms' tasks need."""

    def begin_run(self) -> None:
        """Another run of the same silos: no silo sums a round of a run twice."""
        self.cohort.run_id = f"run-{next(self._runs)}"
        for workspace in self.cohort.workspaces.values():
            workspace.run_id = self.cohort.run_id

    def __init__(
        self,
        folder: Path,
        order: Callable[[list[str]], list[str]] = lambda silos: silos,
        names: tuple[str, ...] = ("north", "south", "west", "east"),
        **settings: object,
    ) -> None:
        self._runs = count(2)
        silos = [
            synthetic_silo(folder / "tables", name, users=40, items=40, seed=seed)
            for seed, name in enumerate(names)
        ]
        self.config = FederatedTrainingConfig.model_validate(
            {"cohort": {"silos": silos, "min_silos": 2}, **SETTINGS, **settings}
        )
        self.cohort = InProcessCohort(silos, folder / "silos", answering_order=order)
        self.sum_securely = partial(
            aggregate_securely.fn,
            round_number=0,
            config=SecureAggregationConfig(),
            min_silos=2,
        )
        load_silo_tables.fn(self.cohort)
        self.vocabulary = agree_on_vocabulary.fn(
            self.cohort, self.sum_securely, min_interactions_per_item=2
        )
        self.prepared = preprocess_on_silos.fn(
            self.cohort, self.sum_securely, self.vocabulary, self.config.preprocessing,
            weighting=self.config.server_optimizer.weighting,
        )  # fmt: skip
