"""Small models that can be served, and people to serve."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from data_contracts.recommendations import SavedModel
from data_contracts.settings.training import ModelConfig
from models.recommenders.building import layout_for
from models.recommenders.saved import ARCHITECTURE
from tasks.serving.served import People, Served

IDS = tuple(f"i{number:02d}" for number in range(30))
CONFIG = ModelConfig(dim=8, blocks=1, heads=2, context=6)
HISTORIES = {"ada": IDS[:4], "bob": IDS[2:12], "cyd": ("never trained on",)}


def saved_model(seed: int = 0, items=IDS, config: ModelConfig = CONFIG) -> SavedModel:
    """A random model; another seed makes another."""
    layout = layout_for(config, len(items))
    generator = np.random.default_rng(seed)
    vector = generator.normal(0, 0.5, layout.size).astype(np.float32)
    metadata = {ARCHITECTURE: config.model_dump_json(exclude={"init_from"})}
    sha256 = f"{seed:x}".rjust(2, "0") * 32
    return SavedModel(
        sha256, f"run-{seed}", 3, tuple(items), layout.split(vector), metadata
    )


def interactions(histories=HISTORIES) -> pa.Table:
    """Everybody's interactions, in the order of time, people mixed."""
    rows = [
        (user, item, place)
        for user, items in histories.items()
        for place, item in enumerate(items)
    ]
    users, items, times = zip(*sorted(rows, key=lambda row: row[2]), strict=True)
    return pa.table({"user_id": users, "item_id": items, "timestamp": times})


def people() -> People:
    """The same, as they are served."""
    return People.of(interactions())


def served_model(seed: int = 0, allowed=None, above: int = 1_000_000) -> Served:
    """A model ready to answer."""
    mask = np.ones(len(IDS), bool) if allowed is None else allowed
    return Served.of(saved_model(seed), mask, people().uses, above)
