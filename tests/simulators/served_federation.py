"""An output folder with published models that nobody had to train."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_contracts.records import Decider, ModelVersionRecord, Stage
from data_contracts.settings.cohort import SiloConfig
from data_contracts.settings.training import ModelConfig
from models.recommenders.building import layout_for
from models.recommenders.saved import ARCHITECTURE
from tasks.lineage.model_card import model_card
from tasks.lineage.model_files import save_model
from tasks.lineage.queries import history
from tasks.lineage.registry import set_stage
from tasks.lineage.signatures import sign_model
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import model_record, run_record
from tests.simulators.small_federation import small_tree
from tests.simulators.synthetic_tables import synthetic_silo

FEDERATION = "weekly"


class ServedFederation:
    """One silo, and a random model for every seed that is asked for.

    Attributes:
        folder: the output folder.
        silo: `north`.
        versions: seed -> its published model.
    """

    def __init__(
        self, folder: Path, config: ModelConfig, *, users: int, items: int
    ) -> None:
        self.folder, self._config = folder / "output", config
        self.folder.mkdir(parents=True)
        self.silo: SiloConfig = synthetic_silo(
            folder / "tables", "north", users=users, items=items, seed=0
        )
        self.items = tuple(f"i{number:05d}" for number in range(items))
        self.store = LineageStore(self.folder)
        self.versions: dict[int, ModelVersionRecord] = {}

    def publish(self, seed: int) -> ModelVersionRecord:
        """Put a random model on record, with card and signature."""
        layout = layout_for(self._config, len(self.items))
        vector = np.random.default_rng(seed).normal(0, 0.05, layout.size)
        metadata = {ARCHITECTURE: self._config.model_dump_json(exclude={"init_from"})}
        file = save_model(
            self.folder, layout.split(vector.astype(np.float32)), metadata, self.items
        )
        run_id, tree = f"run-{seed}", small_tree([self.silo], self.folder)
        tree["cohort"]["min_silos"] = 1
        told = json.dumps(tree | {"name": FEDERATION})
        version = replace(
            model_record(run_id, 1, "", published=True),
            sha256=file.sha256,
            path=str(file.path),
            vocabulary_sha256=file.vocabulary_sha256,
            at=f"2026-01-{seed + 1:02d}T00:00:00Z",
        )
        rows = [run_record(run_id, place, config_json=told) for place in (0, 1)]
        self.store.append([*rows, version], run_id=run_id, step="all")
        card = model_card(history(self.store, run_id), version)
        sign_model(self.folder, version, card)
        self.versions[seed] = version
        return version

    def promote(self, seed: int) -> ModelVersionRecord:
        """Make the model of this seed the champion."""
        version = self.versions.get(seed) or self.publish(seed)
        set_stage(
            self.store, FEDERATION, version, Stage.CHAMPION,
            decided_by=Decider.PERSON, sentence="a test",
        )  # fmt: skip
        return version
