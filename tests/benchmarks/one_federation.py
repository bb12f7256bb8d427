"""silorec's side of the overhead benchmark: four silos whose rounds train nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.presets import merged
from data_contracts.settings.cohort import SiloConfig, TableSource
from data_contracts.workspace import Contribution, SiloStep, SiloWorkspace
from flows.embedded_server import start_embedded_server
from tests.benchmarks.rivals import work
from tests.simulators.sabotage import meddling
from tests.simulators.small_federation import (
    NO_COMPARISON,
    FinishedRun,
    small_config,
    train,
)
from tests.simulators.synthetic_tables import START

USERS = 10  # a silo; together they touch every item, so the vocabulary has them all
NUDGE = 2**16


@dataclass(frozen=True)
class MovingModel:
    """Notes when training begins, and makes the model move although nothing trains.

    A model that stayed the same would spare the coordinator writing it.
    """

    log: str

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        if step.__name__ != "train_round":
            return step(workspace, *args)
        work.note_start(self.log, workspace.silo, args[1].round_number)
        receipt = step(workspace, *args)
        workspace.get(Contribution).words[: work.ITEMS] += np.uint32(NUDGE)
        return receipt


def run_silorec(folder: Path, log: Path, rounds: int) -> FinishedRun:
    """The real flow: contracts on, masked sums, everything recorded."""
    settings = merged(
        NO_COMPARISON,
        {
            "contracts": {"min_users": USERS},
            "preprocessing": {"min_interactions_per_item": 1},
            "model": {"dim": work.DIM, "blocks": work.BLOCKS, "heads": work.HEADS},
            "local_training": {"epochs": 0},
            # However the metric moves, the model is accepted and the run goes on.
            "schedule": {"rounds": rounds, "max_regression": 1, "patience": rounds},
        },
    )
    silos = [_silo(folder, f"silo-{number}", number) for number in range(work.SILOS)]
    config = small_config(silos, folder / "output", **settings)
    start_embedded_server()
    with meddling(MovingModel(str(log))):
        return train(config)


def _silo(folder: Path, name: str, seed: int) -> SiloConfig:
    """Few users with long histories over the whole catalogue."""
    items = np.array([f"item-{number:05d}" for number in range(work.ITEMS)])
    order = np.random.default_rng(seed).permutation(work.ITEMS)
    interactions = {
        "user_id": [f"{name}-user-{row % USERS}" for row in range(work.ITEMS)],
        "item_id": items[order],
        "timestamp": START + np.arange(work.ITEMS),
    }
    place = folder / name
    place.mkdir(parents=True)
    pq.write_table(pa.table(interactions), place / "interactions.parquet")
    pq.write_table(pa.table({"item_id": items}), place / "items.parquet")
    return SiloConfig(
        name=name,
        interactions=TableSource(path=str(place / "interactions.parquet")),
        items=TableSource(path=str(place / "items.parquet")),
    )
