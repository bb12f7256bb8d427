"""Batch recommendation beside a bare loop, or `make bench-batch`.

Both sides rank for the same people with the same model on one thread. The bare loop has
its histories in memory, calls the model in batches in the order of the table, takes the
best and keeps nothing. The silo's step starts from its interactions table: it orders
histories, leaves out what was seen, and writes its Delta table. Starting Ray and
Prefect is not in it. In turns, the median of three.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from data_contracts.columns import TableName
from data_contracts.recommendations import RecommendationJob, SavedModel
from data_contracts.settings.cohort import SiloConfig
from data_contracts.settings.recommendation import ItemRules
from data_contracts.settings.training import ModelConfig
from data_contracts.tables import SiloTables
from data_contracts.workspace import SiloWorkspace
from models.histories import History, ordered_histories
from models.recommenders.building import initial_vector, layout_for
from models.recommenders.saved import ARCHITECTURE, SavedRecommender
from models.sequences import right_padded
from models.vocabulary import Vocabulary
from tasks.recommendation.own_table import in_batches
from tasks.recommendation.silo_side import recommend
from tests.benchmarks.figures import say, say_median

PEOPLE, ITEMS, LONGEST, K, AT_ONCE = 20_000, 10_000, 120, 10, 256
CONFIG = ModelConfig(dim=64, blocks=2, heads=2, context=50)
REPEATS = 3


def main() -> None:
    """Time both sides in turns and print the ratio."""
    torch.set_num_threads(1)
    ids = tuple(f"item-{number:06d}" for number in range(ITEMS))
    model, interactions = _model(ids), _interactions(ids)
    history = ordered_histories(interactions, Vocabulary(ids), 1)
    bare: list[float] = []
    whole: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        workspace = SiloWorkspace(SiloConfig(name="north"), "bench", Path(folder))
        tables = {TableName.INTERACTIONS: interactions}
        workspace.put(SiloTables(tables, "hash"))
        job = RecommendationJob(K, ItemRules(), AT_ONCE, 1, "2026-01-01")
        for _ in range(REPEATS):
            bare.append(_seconds(lambda: _bare_loop(model, history)))
            whole.append(_seconds(lambda: recommend(workspace, model, job, "plain")))
    say("batch_people", PEOPLE, "people")
    say_median("batch_people_per_second", [PEOPLE / s for s in whole], "people/s")
    say_median("batch_bare_people_per_second", [PEOPLE / s for s in bare], "people/s")
    ratios = [one / other for one, other in zip(bare, whole, strict=True)]
    say_median("batch_over_bare_throughput", ratios, "ratio", ">= 0.8")
    say("batch_seconds", statistics.median(whole), "s")


def _bare_loop(model: SavedModel, history: History) -> None:
    saved = SavedRecommender.of_model(model.items, model.tensors, model.metadata)
    with torch.inference_mode():
        for places in in_batches(np.arange(PEOPLE), AT_ONCE):
            recent = [history.of(place)[-CONFIG.context :] for place in places]
            items, lengths = map(torch.from_numpy, right_padded(recent))
            torch.topk(saved.module.score(items, lengths), K, dim=1)


def _model(ids: tuple[str, ...]) -> SavedModel:
    tensors = layout_for(CONFIG, ITEMS).split(initial_vector(CONFIG, ITEMS))
    metadata = {ARCHITECTURE: CONFIG.model_dump_json(exclude={"init_from"})}
    return SavedModel("a" * 64, "bench", 1, ids, tensors, metadata)


def _interactions(ids: tuple[str, ...]) -> pa.Table:
    """People with 3 to `LONGEST` interactions each, in the order of time."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(3, LONGEST + 1, size=PEOPLE)
    users = np.repeat(np.arange(PEOPLE), lengths)
    times = np.arange(len(users))
    order = generator.permutation(len(users))
    names = np.array([f"person-{number:06d}" for number in range(PEOPLE)])
    items = np.array(ids)[generator.integers(ITEMS, size=len(users))]
    return pa.table(
        {
            "user_id": names[users[order]],
            "item_id": items[order],
            "timestamp": times[order],
        }
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
