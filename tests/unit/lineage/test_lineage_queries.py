from pathlib import Path

import pytest

from data_contracts.errors import NotRecordedError
from data_contracts.records import RunStatus
from tasks.lineage.queries import history, runs
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import (
    append_end,
    append_round,
    append_run,
    append_start,
    decision_record,
    metric_record,
    participant_record,
    sha,
)


@pytest.fixture
def store(tmp_path: Path) -> LineageStore:
    return LineageStore(tmp_path)


def test_runs_are_listed_as_they_stand_the_latest_first(store: LineageStore) -> None:
    append_run(store, "old")
    append_start(store, "new", at="2026-02-01T00:00:00Z")
    assert [(run.run_id, run.status) for run in runs(store)] == [
        ("new", RunStatus.RUNNING),
        ("old", RunStatus.COMPLETED),
    ]


def test_history_holds_all_of_one_run_and_nothing_of_another(
    store: LineageStore,
) -> None:
    append_run(store, "aaaa", rounds=2)
    append_run(store, "bbbb", rounds=3)
    found = history(store, "aa")
    assert found.run.run_id == "aaaa"
    assert found.run.status == RunStatus.COMPLETED
    assert [row.round_number for row in found.rounds] == [1, 2]
    assert [row.silo for row in found.contracts] == ["north", "south"]
    assert [(row.round_number, row.silo) for row in found.participants] == [
        (1, "north"),
        (1, "south"),
        (2, "north"),
        (2, "south"),
    ]
    assert len(found.metrics) == 6
    assert len(found.decisions) == 2
    assert [(row.round_number, row.published) for row in found.models] == [
        (1, False),
        (2, False),
        (2, True),
    ]


def test_a_round_that_is_just_being_recorded_is_not_shown(store: LineageStore) -> None:
    append_start(store, "run1")
    store.append([metric_record("run1", 0)], run_id="run1", step="admission")
    append_round(store, "run1", 1)
    half = [participant_record("run1", 2, "north"), metric_record("run1", 2)]
    store.append(half, run_id="run1", step="half")
    found = history(store, "run1")
    assert {row.round_number for row in found.participants} == {1}
    assert {row.round_number for row in found.metrics} == {0, 1}


def test_what_was_decided_in_a_round_that_failed_is_shown(store: LineageStore) -> None:
    append_start(store, "run1")
    append_round(store, "run1", 1)
    append_end(store, "run1", decision_record("run1", 2))
    assert [row.round_number for row in history(store, "run1").decisions] == [1, 2]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("zz", "no recorded run starts with 'zz'"),
        ("", "no recorded run starts with ''"),
        ("a", r"2 recorded runs start with 'a' \(aa, aab\); give more letters"),
    ],
)
def test_a_run_that_cannot_be_told_is_one_sentence(
    store: LineageStore, asked: str, sentence: str
) -> None:
    append_run(store, "aa", rounds=1)
    append_run(store, "aab", rounds=1)
    with pytest.raises(NotRecordedError, match=sentence):
        history(store, asked)


def test_a_full_name_wins_over_a_longer_one(store: LineageStore) -> None:
    append_run(store, "aa", rounds=1)
    append_run(store, "aab", rounds=1)
    assert history(store, "aa").models[-1].sha256 == sha("aa", 1)
