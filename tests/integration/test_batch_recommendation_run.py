"""From a trained federation to everybody's recommendations."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from data_contracts.errors import ConfigError, LineageError, NotRecordedError
from data_contracts.records import Decider, Stage
from data_contracts.settings.recommendation import BatchRecommendationConfig
from tasks.lineage.registry import read_registry, set_stage
from tasks.lineage.signatures import card_path
from tasks.lineage.store import open_store
from tests.simulators.growing_tables import GrowingSilo
from tests.simulators.in_process_cohort import silos_in_process
from tests.simulators.leak_search import leaks, needles
from tests.simulators.small_federation import NO_COMPARISON, small_config, train
from tests.simulators.synthetic_tables import small_silos

pytestmark = pytest.mark.slow

SILOS = ("north", "south", "west")


@pytest.fixture(autouse=True, scope="module")
def silos_without_ray(prefect_session):
    with (
        patch("flows.federated_training.open_cohort", silos_in_process),
        patch("flows.batch_recommendation.open_cohort", silos_in_process),
    ):
        yield


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return small_silos(tmp_path_factory.mktemp("silos"), SILOS)


@pytest.fixture(scope="module")
def run(members, tmp_path_factory):
    quick = NO_COMPARISON | {"local_training": {"epochs": 1}}
    config = small_config(members, tmp_path_factory.mktemp("out"), **quick)
    finished = train(config)
    set_stage(
        open_store(str(finished.store_folder)), "small", finished.published,
        Stage.CHAMPION, decided_by=Decider.PERSON, sentence="first",
    )  # fmt: skip
    return finished


def recommend(run, **settings):
    from flows.batch_recommendation import batch_recommendation

    config = BatchRecommendationConfig(output_folder=str(run.store_folder), **settings)
    return batch_recommendation(config)


def rows(folder: Path) -> list[dict]:
    return DeltaTable(folder / "recommendations").to_pyarrow_table().to_pylist()


def test_the_champion_recommends_to_everybody_of_every_silo(run, members):
    found = recommend(run, k=5)
    assert found.model_sha256 == run.published.sha256
    assert set(found.receipts) == set(SILOS)
    for silo in members:
        told = pq.read_table(silo.interactions.path)
        seen = set(
            zip(told["user_id"].to_pylist(), told["item_id"].to_pylist(), strict=True)
        )
        table = rows(run.store_folder / "silos" / silo.name)
        assert {row["user_id"] for row in table} == set(told["user_id"].to_pylist())
        assert not {(row["user_id"], row["item_id"]) for row in table} & seen
        assert {row["model_sha256"] for row in table} == {run.published.sha256}


def test_nobody_is_named_outside_a_silo(run, members):
    recommend(run, k=5)
    people = pq.read_table(members[0].interactions.path)["user_id"].to_pylist()
    sought = needles(set(people), ())
    assert not leaks(sought, run.store_folder, [run.store_folder / "silos"])
    found = leaks(sought, run.store_folder / "silos" / "north" / "recommendations")
    assert set(found) == set(people)  # The search finds them where they are.


def test_only_the_silos_that_are_named_recommend(run):
    assert set(recommend(run, silos=("south",)).receipts) == {"south"}
    with pytest.raises(ConfigError, match="has no silo east; its silos are north"):
        recommend(run, silos=("east",))


def test_a_silo_whose_tables_break_the_contract_is_left_out(run, members):
    north = GrowingSilo(members[0])
    try:
        north.spoil()
        found = recommend(run)
    finally:
        north.show(1.0)
    assert set(found.receipts) == {"south", "west"}
    assert "rating" in found.refused["north"]


def test_a_model_that_nobody_published_recommends_nothing(run):
    with pytest.raises(NotRecordedError):
        recommend(run, model_version="0123")


def test_a_model_whose_card_was_changed_recommends_nothing(run):
    card = card_path(run.store_folder, run.published.sha256)
    before = card.read_bytes()
    try:
        card.write_bytes(before + b"better than it is\n")
        with pytest.raises(LineageError, match="not the one that was signed"):
            recommend(run)
    finally:
        card.write_bytes(before)


def test_the_registry_of_the_run_knows_its_champion(run):
    registry = read_registry(open_store(str(run.store_folder)), "small")
    assert registry.champion.sha256 == run.published.sha256


def test_workers_give_what_one_ranker_gives(ray_session):
    from data_contracts.recommendations import RecommendationJob, SavedModel
    from data_contracts.settings.cohort import ComputeConfig
    from data_contracts.settings.recommendation import ItemRules
    from data_contracts.settings.training import ModelConfig
    from models.histories import History
    from models.recommenders.building import initial_vector, layout_for
    from models.recommenders.saved import ARCHITECTURE
    from tasks.recommendation.actor import ranked_by_workers
    from tasks.recommendation.ranker import Ranker, RankerInput

    config = ModelConfig(dim=8, blocks=1, heads=2, context=6)
    ids = tuple(f"i{number}" for number in range(20))
    model = SavedModel(
        "a" * 64, "run", 1, ids,
        layout_for(config, 20).split(initial_vector(config, 20)),
        {ARCHITECTURE: config.model_dump_json(exclude={"init_from"})},
    )  # fmt: skip
    generator = np.random.default_rng(0)
    items = generator.integers(20, size=400).astype(np.int32)
    people = np.arange(40)
    history = History(items, np.arange(400), np.arange(0, 401, 10), people)
    job = RecommendationJob(5, ItemRules(), 7, 2, "2026-01-01")
    given = RankerInput(model, history, np.ones(20, bool), job)
    pieces = [people[start : start + 7] for start in range(0, 40, 7)]
    compute = ComputeConfig(custom_resources={"silo:north": 1})
    alone = Ranker(given)
    for place, top in enumerate(ranked_by_workers(given, pieces, 2, compute)):
        items_alone, scores_alone = alone.rank(pieces[place])
        assert (top[0] == items_alone).all()
        np.testing.assert_allclose(top[1], scores_alone, rtol=1e-5)
