"""What the step does in one silo, without Prefect and without Ray."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from data_contracts.columns import TableName
from data_contracts.errors import SiloInputError
from data_contracts.hidden_names import write_names
from data_contracts.personal_parts import keep_part
from data_contracts.recommendations import RecommendationJob, SavedModel
from data_contracts.settings.cohort import SiloConfig
from data_contracts.settings.recommendation import ItemRules
from data_contracts.settings.training import ModelConfig
from data_contracts.tables import SiloTables
from data_contracts.workspace import SiloWorkspace
from models.recommenders.building import initial_vector, layout_for
from models.recommenders.saved import ARCHITECTURE, SavedRecommender
from tasks.recommendation.own_table import RECOMMENDATIONS
from tasks.recommendation.silo_side import recommend

IDS = tuple(f"i{number:02d}" for number in range(12))
NEW = "never trained on"
PEOPLE = {
    "ada": IDS[:4],
    "bob": (*IDS[2:6], NEW),
    "cyd": (NEW,),
    "dan": IDS[:11],
}


def model_of(config: ModelConfig, items=IDS, sha256: str = "a" * 64) -> SavedModel:
    layout = layout_for(config, len(items))
    tensors = layout.split(initial_vector(config, len(items)))
    metadata = {ARCHITECTURE: config.model_dump_json(exclude={"init_from"})}
    return SavedModel(sha256, "run-1", 2, items, tensors, metadata)


CONFIG = ModelConfig(dim=8, blocks=1, heads=2, context=10)
MODEL = model_of(CONFIG)


def workspace_in(folder: Path, catalogue=(*IDS, NEW)):
    rows = [
        (user, item, place)
        for user, items in PEOPLE.items()
        for place, item in enumerate(items)
    ]
    users, items, times = zip(*rows, strict=True)
    tables = {
        TableName.INTERACTIONS: pa.table(
            {"user_id": users, "item_id": items, "timestamp": times}
        ),
        TableName.ITEMS: pa.table(
            {
                "item_id": list(catalogue),
                "categories": [
                    "Drama|War" if place % 2 else "Comedy"
                    for place in range(len(catalogue))
                ],
            }
        ),
    }
    folder.mkdir(exist_ok=True)
    workspace = SiloWorkspace(SiloConfig(name="north"), "batch-1", folder)
    workspace.put(SiloTables(tables, "hash"))
    return workspace


def job(k: int = 3, users_at_once: int = 2, **rules) -> RecommendationJob:
    return RecommendationJob(k, ItemRules(**rules), users_at_once, 1, "2026-01-01")


def rows_in(folder: Path) -> list[dict]:
    table = DeltaTable(folder / RECOMMENDATIONS).to_pyarrow_table()
    return table.sort_by([("user_id", "ascending"), ("rank", "ascending")]).to_pylist()


def recommended(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows_in(folder):
        found.setdefault(row["user_id"], []).append(row["item_id"])
    return found


@pytest.fixture
def silo(tmp_path):
    return workspace_in(tmp_path / "north")


def test_everybody_gets_the_best_unseen_items_in_order(silo):
    told = recommend(silo, MODEL, job(), "plain")
    assert (told.users, told.without_history) == (4, 1)
    found = recommended(silo.folder)
    assert set(found) == set(PEOPLE)
    saved = SavedRecommender.of_model(MODEL.items, MODEL.tensors, MODEL.metadata)
    for user, items in PEOPLE.items():
        history = np.array([IDS.index(i) for i in items if i != NEW], np.int32)
        if not len(history):
            continue
        scores = saved.scorer([history])[0].copy()
        scores[history] = -np.inf
        wanted = [
            IDS[place] for place in np.argsort(-scores)[: min(3, 12 - len(history))]
        ]
        assert found[user] == wanted
        assert not set(found[user]) & set(items)


def test_who_has_no_known_item_gets_what_is_used_most_here(silo):
    recommend(silo, MODEL, job(), "plain")
    first, second, third = recommended(silo.folder)["cyd"]
    assert {first, second} == {"i02", "i03"}  # three people each
    assert third in {"i00", "i01", "i04", "i05"}  # two people each


def test_ranks_count_from_one_and_scores_fall(silo):
    recommend(silo, MODEL, job(k=5), "plain")
    rows = [row for row in rows_in(silo.folder) if row["user_id"] == "ada"]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_where_fewer_items_are_left_fewer_rows_are_written(silo):
    recommend(silo, MODEL, job(k=5), "plain")
    assert recommended(silo.folder)["dan"] == [IDS[11]]


def test_seen_items_come_back_only_if_that_is_asked_for(silo):
    recommend(silo, MODEL, job(k=12, seen=True), "plain")
    assert set(recommended(silo.folder)["ada"]) == set(IDS)


def test_only_what_the_silo_stocks_is_recommended(tmp_path):
    silo = workspace_in(tmp_path / "north", catalogue=IDS[6:9])
    recommend(silo, MODEL, job(k=12), "plain")
    assert {i for row in recommended(silo.folder).values() for i in row} == set(
        IDS[6:9]
    )


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({"categories": ("Comedy",)}, set(IDS[0::2])),
        ({"categories": ("War",)}, set(IDS[1::2])),
        ({"excluded_categories": ("War",)}, set(IDS[0::2])),
        (
            {"categories": ("Drama", "Comedy"), "excluded_categories": ("War",)},
            set(IDS[0::2]),
        ),
    ],
)
def test_rules_about_categories_hold(silo, rules, wanted):
    recommend(silo, MODEL, job(k=12, seen=True, **rules), "plain")
    assert set(recommended(silo.folder)["ada"]) == wanted


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_only_what_is_available_is_recommended(silo, tmp_path, ending):
    path = tmp_path / f"available.{ending}"
    if ending == "csv":
        path.write_text("item_id,stock\ni07,3\ni08,1\n")
    else:
        pq.write_table(pa.table({"item_id": ["i07", "i08"]}), path)
    recommend(silo, MODEL, job(k=12, available={"north": str(path)}), "plain")
    assert set(recommended(silo.folder)["ada"]) == {"i07", "i08"}


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"categories": ("Opera",)}, "leave no item"),
        (
            {"available": {"north": "/nowhere.csv"}},
            "cannot be read as a CSV or Parquet",
        ),
    ],
)
def test_rules_that_cannot_be_followed_are_one_sentence(silo, rules, told):
    with pytest.raises(SiloInputError, match=told):
        recommend(silo, MODEL, job(**rules), "plain")
    assert not (silo.folder / RECOMMENDATIONS).exists()


def test_the_same_batch_again_leaves_the_same_rows(silo):
    recommend(silo, MODEL, job(), "plain")
    before = rows_in(silo.folder)
    recommend(silo, MODEL, job(users_at_once=3), "plain")
    after = rows_in(silo.folder)
    assert [(r["user_id"], r["item_id"]) for r in after] == [
        (r["user_id"], r["item_id"]) for r in before
    ]


def test_rows_of_another_model_stay(silo):
    recommend(silo, MODEL, job(), "plain")
    recommend(silo, model_of(CONFIG, sha256="b" * 64), job(k=1), "plain")
    models = [row["model_sha256"] for row in rows_in(silo.folder)]
    assert {"a" * 64, "b" * 64} == set(models)
    assert models.count("b" * 64) == 4


def test_a_batch_that_dies_leaves_the_old_rows(silo, monkeypatch):
    recommend(silo, MODEL, job(), "plain")
    before = rows_in(silo.folder)
    from tasks.recommendation.ranker import Ranker

    honest, asked = Ranker.rank, []

    def dying(self, places):
        asked.append(1)
        if len(asked) == 2:
            raise MemoryError
        return honest(self, places)

    monkeypatch.setattr(Ranker, "rank", dying)
    with pytest.raises(MemoryError):
        recommend(silo, MODEL, job(k=1), "plain")
    assert rows_in(silo.folder) == before


def test_items_under_a_key_come_back_under_their_own_ids(tmp_path):
    def hidden(item):
        return f"name-of-{item}"

    silo = workspace_in(tmp_path / "north")
    write_names(silo.folder, {item: hidden(item) for item in IDS[:10]})
    model = model_of(CONFIG, items=tuple(map(hidden, IDS)))
    recommend(silo, model, job(k=12, seen=True), "keyed-hash")
    assert set(recommended(silo.folder)["ada"]) == set(IDS[:10])


def test_what_the_silo_trained_for_itself_takes_the_place_of_what_is_shared(tmp_path):
    config = CONFIG.model_copy(update={"personal": "items"})
    model = model_of(config)
    own = workspace_in(tmp_path / "own")
    generator = np.random.default_rng(5)
    table = generator.normal(size=(len(IDS), 8)).astype(np.float32)
    keep_part(own.folder, "run-1", 2, {"items.weight": table}, "key")
    recommend(own, model, job(k=6), "plain")
    whole = model_of(config)
    tensors = {**whole.tensors, "items.weight": table}
    saved = SavedRecommender.of_model(IDS, tensors, whole.metadata)
    scores = saved.scorer([np.arange(4, dtype=np.int32)])[0].copy()
    scores[:4] = -np.inf
    wanted = [IDS[place] for place in np.argsort(-scores)[:6]]
    assert recommended(own.folder)["ada"] == wanted


def test_a_silo_without_tensors_of_its_own_does_not_recommend_by_random_ones(silo):
    model = model_of(CONFIG.model_copy(update={"personal": "items"}))
    with pytest.raises(SiloInputError, match="has personal tensors"):
        recommend(silo, model, job(), "plain")


def test_people_who_only_stand_in_the_users_table_get_what_is_popular(silo):
    tables = dict(silo.get(SiloTables).tables)
    tables[TableName.USERS] = pa.table({"user_id": ["ada", "eve"]})
    silo.put(SiloTables(tables, "hash"))
    told = recommend(silo, MODEL, job(), "plain")
    assert (told.users, told.without_history) == (5, 2)
    found = recommended(silo.folder)
    assert found["eve"] == found["cyd"]


def test_in_a_private_federation_no_count_leaves_the_silo(silo):
    told = recommend(silo, MODEL, replace(job(), tell_counts=False), "plain")
    assert (told.users, told.without_history) == (None, None)


def test_what_is_told_names_nobody(silo):
    told = json.dumps(asdict(recommend(silo, MODEL, job(), "plain")))
    assert not [name for name in (*PEOPLE, *IDS, NEW) if name in told]
