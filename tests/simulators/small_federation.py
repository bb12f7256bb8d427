"""Federations so small that a whole run takes seconds, and running one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.presets import Tree, merged
from data_contracts.progress import listening
from data_contracts.records import ModelVersionRecord, RunHistory
from data_contracts.run_config import FederatedTrainingConfig, parse_config
from data_contracts.settings.cohort import SiloConfig

SMALL: Tree = {
    "name": "small",
    "model": {"dim": 16, "context": 20, "blocks": 1, "dropout": 0.0},
    "local_training": {"epochs": 8, "batch_size": 16, "learning_rate": 0.02},
    "schedule": {"rounds": 2},
}

# For runs that are about something else: only the federated model is evaluated.
NO_COMPARISON: Tree = {"evaluation": {"baselines": False, "local_only": False}}


@dataclass(frozen=True)
class FinishedRun:
    """A run that published a model, and all that is on record of it."""

    config: FederatedTrainingConfig
    published: ModelVersionRecord
    history: RunHistory
    notes: tuple[str, ...]

    @property
    def store_folder(self) -> Path:
        """The run's output folder."""
        return Path(self.config.output_folder)


class Notebook:
    """Implements `ProgressListener`: keeps the notes meant for a person."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def run(self, run_id: str) -> None:
        """Ignored."""

    def lap(self, stage: str, seconds: float) -> None:
        """Ignored."""

    def stage(self, title: str) -> None:
        """Ignored."""

    def round(self, number: int, of: int, headline: str) -> None:
        """Ignored."""

    def silos(self, progress: Any) -> None:
        """Ignored."""

    def note(self, sentence: str) -> None:
        """Kept."""
        self.notes.append(sentence)


def small_tree(silos: Iterable[SiloConfig], output: Path, **sections: Any) -> Tree:
    """The configuration of a small run, as it would stand in a file."""
    base = SMALL | {
        "output_folder": str(output),
        "cohort": {
            "silos": [silo.model_dump(mode="json", exclude_none=True) for silo in silos]
        },
    }
    return merged(base, sections)


def small_config(
    silos: Iterable[SiloConfig], output: Path, **sections: Any
) -> FederatedTrainingConfig:
    """The same, typed."""
    return parse_config(small_tree(silos, output, **sections), origin="test")


def train(config: FederatedTrainingConfig) -> FinishedRun:
    """One run of the real flow on whatever Ray and Prefect this process uses."""
    from flows.federated_training import federated_training
    from tasks.lineage.queries import history
    from tasks.lineage.store import open_store

    notebook = Notebook()
    with listening(notebook):
        published = federated_training(config)
    told = history(open_store(config.output_folder), published.run_id)
    return FinishedRun(config, published, told, tuple(notebook.notes))
