import threading
from pathlib import Path

import pytest

from data_contracts.errors import NotRecordedError
from data_contracts.records import Decider, ModelVersionRecord, Stage
from tasks.lineage.registry import (
    Registry,
    federations,
    only_federation,
    read_registry,
    set_stage,
)
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import (
    append_end,
    append_round,
    append_start,
    run_record,
    sha,
)
from tests.simulators.recorded_runs import model_record as model

RUNS = ("spring", "summer", "autumn")


@pytest.fixture
def store(tmp_path: Path) -> LineageStore:
    store = LineageStore(tmp_path)
    for place, run in enumerate(RUNS):
        append_start(store, run)
        append_round(store, run, 1, parent="")
        end = model(run, 1, "", published=True)
        append_end(store, run, _at(end, f"2026-0{place + 1}-01T00:00:00+00:00"))
    return store


def _at(version: ModelVersionRecord, at: str) -> ModelVersionRecord:
    from dataclasses import replace

    return replace(version, at=at)


def move(store: LineageStore, run: str, stage: Stage, **how: Stage) -> Registry:
    version = read_registry(store, "weekly").find(run)
    return set_stage(
        store, "weekly", version, stage,
        decided_by=Decider.PERSON, sentence="because", **how,
    )  # fmt: skip


def stages(store: LineageStore) -> dict[str, str]:
    registry = read_registry(store, "weekly")
    return {
        registry.by_sha256[name].run_id: row.stage
        for name, row in registry.standing.items()
    }


def test_published_models_stand_nowhere_until_somebody_decides(store):
    registry = read_registry(store, "weekly")
    assert [version.run_id for version in registry.versions] == list(RUNS)
    assert registry.champion is None
    assert registry.standing == {}
    with pytest.raises(NotRecordedError, match="has no champion yet"):
        registry.find("champion")


def test_a_new_champion_retires_the_one_before(store):
    move(store, "spring", Stage.CHAMPION)
    registry = move(store, "summer", Stage.CHAMPION)
    assert stages(store) == {"spring": "retired", "summer": "champion"}
    assert registry.find("champion").run_id == "summer"
    assert registry.previous_champion.run_id == "spring"
    assert [row.sequence for row in registry.moves] == [0, 1, 2]


def test_what_was_rolled_back_is_no_earlier_champion(store):
    for run in RUNS:
        move(store, run, Stage.CHAMPION)
    registry = move(store, "summer", Stage.CHAMPION, leaving=Stage.REJECTED)
    assert registry.champion.run_id == "summer"
    assert registry.previous_champion.run_id == "spring"


def test_the_same_decision_twice_is_written_once(store):
    move(store, "spring", Stage.CHAMPION)
    registry = move(store, "spring", Stage.CHAMPION)
    assert len(registry.moves) == 1


def test_a_candidate_leaves_the_champion_in_its_place(store):
    move(store, "spring", Stage.CHAMPION)
    assert move(store, "summer", Stage.CANDIDATE).champion.run_id == "spring"


def test_a_rejected_champion_leaves_the_place_empty(store):
    move(store, "spring", Stage.CHAMPION)
    assert move(store, "spring", Stage.REJECTED).champion is None


def test_many_who_decide_at_once_leave_one_champion_and_every_decision(store):
    threads = [
        threading.Thread(
            target=move, args=(LineageStore(store.folder), run, Stage.CHAMPION)
        )
        for run in RUNS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry = read_registry(LineageStore(store.folder), "weekly")
    assert sorted(stages(store).values()) == ["champion", "retired", "retired"]
    assert [row.sequence for row in registry.moves] == list(range(5))


def test_a_model_is_named_by_hash_or_run_and_else_refused(store):
    registry = read_registry(store, "weekly")
    assert registry.find(sha("summer", 1)[:20]).run_id == "summer"
    assert registry.find("autumn").run_id == "autumn"
    with pytest.raises(NotRecordedError, match="no recorded published model or run"):
        registry.find("winter")


def test_the_only_federation_need_not_be_named(store):
    assert only_federation(store, None) == "weekly"
    store.append([run_record("x", name="daily")], run_id="x", step="start")
    store.append([model("x", 1, "", published=True)], run_id="x", step="end")
    assert federations(store) == ("daily", "weekly")
    with pytest.raises(NotRecordedError, match="--federation"):
        only_federation(store, None)
    with pytest.raises(NotRecordedError, match="daily, weekly"):
        only_federation(store, "monthly")
    assert [v.run_id for v in read_registry(store, "daily").versions] == ["x"]


def test_without_a_published_model_there_is_nothing_to_choose(tmp_path):
    with pytest.raises(NotRecordedError, match="no model is published here yet"):
        only_federation(LineageStore(tmp_path), None)
