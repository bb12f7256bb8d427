"""Findings about runs, commits, rows and model files, and what a repair does."""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from data_contracts.errors import LineageError
from data_contracts.health import Finding, Severity, repair
from data_contracts.records import (
    ContractRecord,
    MetricRecord,
    RoundRecord,
    RunRecord,
    RunStatus,
)
from data_contracts.stopwatch import now_utc
from tasks.lineage import repeated_rows, row_health, run_health, store
from tasks.lineage.delta_log import read_log
from tasks.lineage.health import folder_findings
from tasks.lineage.leftovers import unnamed_models
from tasks.lineage.model_files import load_model, save_model
from tasks.lineage.schema import TABLE_OF, to_rows
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import (
    append_end,
    append_round,
    append_start,
    contract_record,
    decision_record,
    metric_record,
    model_record,
    participant_record,
    round_record,
    run_record,
)


@pytest.fixture(autouse=True)
def dead_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (row_health, run_health, store):
        monkeypatch.setattr(module, "SURELY_DEAD_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A completed run of one round, which published no model."""
    writer = LineageStore(tmp_path)
    append_start(writer, "run1")
    append_round(writer, "run1", 1)
    append_end(writer, "run1")
    return tmp_path


def only(folder: Path, check: str) -> Finding:
    (finding,) = [found for found in folder_findings(folder) if found.check == check]
    return finding


def repaired(folder: Path) -> tuple[str, ...]:
    done, left = repair(partial(folder_findings, folder))
    assert left == ()
    return done


def test_looking_changes_nothing(folder: Path) -> None:
    (folder / "lineage" / "unfinished" / "run2.round-1.json").write_text("{")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert folder_findings(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_without_runs_is_a_note(tmp_path: Path) -> None:
    (finding,) = folder_findings(tmp_path / "nowhere")
    assert finding.severity is Severity.NOTE
    assert not (tmp_path / "nowhere").exists()


def test_an_unfinished_commit_is_completed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_deltalake", full)
        with pytest.raises(LineageError):
            append_start(LineageStore(folder), "run2", status=RunStatus.FAILED)
    assert "run2.status-0.json" in only(folder, "write-ahead").sentence
    assert repaired(folder) == ("completed commit run2.status-0.json",)
    assert [row.run_id for row in LineageStore(folder).read(RunRecord)][-1] == "run2"


def test_a_commit_of_the_last_minute_may_be_in_the_making(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_health, "SURELY_DEAD_SECONDS", 60.0)
    commit = {"run_id": "r", "step": "round-1", "code_hash": "", "tables": {}}
    path = folder / "lineage" / "unfinished" / "r.round-1.json"
    path.write_text(json.dumps(commit))
    assert folder_findings(folder) == ()


def test_a_damaged_unfinished_commit_is_set_aside(folder: Path) -> None:
    path = folder / "lineage" / "unfinished" / "run1.round-2.json"
    path.write_text('{"run_id": ')
    assert "damaged" in only(folder, "write-ahead").sentence
    repaired(folder)
    kept = folder / "set_aside" / path.relative_to(folder)
    assert kept.read_text() == '{"run_id": '
    append_round(LineageStore(folder), "run1", 2)


def start(folder: Path, at: str, **changes: object) -> None:
    append_start(LineageStore(folder), "run2", at=at, **changes)


def test_a_run_that_was_silent_for_a_day_is_dead(folder: Path) -> None:
    start(folder, "2026-01-01T00:00:00+00:00")
    assert "run run2" in only(folder, "dead-run").sentence
    assert repaired(folder) == ("recorded that run run2 failed",)
    last = LineageStore(folder).read(RunRecord, run_id="run2")[-1]
    assert (last.status, last.sequence) == (RunStatus.FAILED, 1)


def test_a_run_that_wrote_today_is_not_dead(folder: Path) -> None:
    start(folder, now_utc().isoformat())
    assert folder_findings(folder) == ()


def test_a_round_is_a_sign_of_life(folder: Path) -> None:
    start(folder, "2026-01-01T00:00:00+00:00")
    append_round(LineageStore(folder), "run2", 1)
    now = replace(round_record("run2", 2), at=now_utc().isoformat())
    rows = [now, participant_record("run2", 2, "north"), model_record("run2", 2, "")]
    LineageStore(folder).append(rows, run_id="run2", step="round-2")
    assert folder_findings(folder) == ()


@pytest.mark.parametrize("held", [True, False])
def test_the_lock_of_a_run_says_whether_it_lives(folder: Path, held: bool) -> None:
    start(folder, now_utc().isoformat() if not held else "2026-01-01T00:00:00+00:00")
    lock = folder / "runs" / "run2" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("a") as file:
        if held:
            fcntl.flock(file, fcntl.LOCK_EX)
        found = [f for f in folder_findings(folder) if f.check == "dead-run"]
        assert len(found) == (0 if held else 1)
    if not held:
        repaired(folder)


def test_a_run_that_someone_takes_up_before_the_repair_is_left_alone(
    folder: Path,
) -> None:
    start(folder, now_utc().isoformat())
    lock = folder / "runs" / "run2" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    finding = only(folder, "dead-run")
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LineageError, match="goes on just now"):
            finding.repair()
    assert len(LineageStore(folder).read(RunRecord, run_id="run2")) == 1


def model(folder: Path, value: float, vocabulary: tuple[str, ...] = ("a", "b")) -> Path:
    tensors = {"w": np.full((2, 2), value, dtype=np.float32)}
    return save_model(folder, tensors, {}, vocabulary).path


def test_a_model_that_is_not_what_its_name_says_is_set_aside(folder: Path) -> None:
    path = model(folder, 1.0)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    assert "SHA-256" in only(folder, "model-files").sentence
    repaired(folder)
    assert not path.exists()
    assert model(folder, 1.0) == path  # Nothing is in the way of the right one.
    assert path.read_bytes() == content


def test_a_missing_or_damaged_vocabulary_is_named(folder: Path) -> None:
    path = model(folder, 1.0)
    (vocabulary,) = path.parent.glob("*.vocabulary.json")
    vocabulary.rename(folder / "elsewhere")
    finding = only(folder, "model-files")
    assert finding.repair is None
    assert vocabulary.name in finding.sentence
    vocabulary.write_text('["a", "c"]')
    done, left = repair(partial(folder_findings, folder))
    assert len(done) == 1
    assert "is missing or damaged" in left[0].sentence
    assert not vocabulary.exists()
    (folder / "elsewhere").rename(vocabulary)
    assert folder_findings(folder) == ()
    assert load_model(path).vocabulary == ("a", "b")


def test_a_published_model_that_is_gone_is_a_problem(folder: Path) -> None:
    store_ = LineageStore(folder)
    for published in (False, True):
        row = replace(model_record("run1", 2, ""), published=published)
        store_.append([row], run_id="run1", step=f"published-{published}")
        found = [f for f in folder_findings(folder) if f.check == "model-files"]
        assert len(found) == published
    assert "restore it from a backup" in found[0].sentence


def test_a_round_without_its_rows_is_a_problem(folder: Path) -> None:
    LineageStore(folder).append(
        [round_record("run1", 2), model_record("run1", 2, "")],
        run_id="run1",
        step="round-2",
    )
    finding = only(folder, "lineage-rows")
    assert "round 2 of run run1 has no row in lineage table participants" in (
        finding.sentence
    )


def test_rows_that_are_there_twice_are_a_problem(folder: Path) -> None:
    rows = to_rows(TABLE_OF[RoundRecord], [round_record("run1", 1)])
    write_deltalake(folder / "lineage" / "rounds", rows, mode="append")
    assert "1 rows of lineage table rounds" in only(folder, "lineage-rows").sentence
    repaired(folder)
    assert LineageStore(folder).read(RoundRecord) == (round_record("run1", 1),)
    append_round(LineageStore(folder), "run1", 2)
    assert len(LineageStore(folder).read(RoundRecord)) == 2


def test_two_merges_at_once_put_rows_in_twice_and_one_copy_is_taken_out(
    folder: Path,
) -> None:
    """What Delta lets happen, should an earlier version have merged without a lock."""
    append_round(LineageStore(folder), "run1", 2)
    place = folder / "lineage" / "metrics"
    before = LineageStore(folder).read(MetricRecord)
    first, second = DeltaTable(place), DeltaTable(place)
    first.optimize.compact()
    second.optimize.compact()
    assert len(DeltaTable(place).to_pyarrow_table()) == 2 * len(before)
    assert "takes 1 data files out" in only(folder, "lineage-rows").sentence
    repaired(folder)
    assert LineageStore(folder).read(MetricRecord) == before


def test_rows_of_one_key_that_differ_are_left_to_people(folder: Path) -> None:
    other = replace(round_record("run1", 1), train_loss=9.0)
    rows = to_rows(TABLE_OF[RoundRecord], [other])
    write_deltalake(folder / "lineage" / "rounds", rows, mode="append")
    finding = only(folder, "lineage-rows")
    assert finding.repair is None
    assert "from a backup" in finding.sentence


def test_a_repair_never_writes_over_the_commit_of_a_faster_writer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "lineage" / "rounds"
    stale = read_log(place)
    append_round(LineageStore(folder), "run1", 2)
    monkeypatch.setattr(repeated_rows, "read_log", lambda table: stale)
    with pytest.raises(FileExistsError):
        repeated_rows.take_out(place, tuple(stale.active))
    assert len(LineageStore(folder).read(RoundRecord)) == 2


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_data_file_that_is_gone_is_named(folder: Path, damage: str) -> None:
    (path,) = (folder / "lineage" / "rounds").glob("*.parquet")
    path.unlink() if damage == "missing" else path.write_bytes(b"PAR1")
    finding = only(folder, "lineage-rows")
    assert str(path) in finding.sentence
    assert "restore it from a backup" in finding.sentence


def test_a_table_of_another_version_is_named(folder: Path) -> None:
    rows = to_rows(TABLE_OF[ContractRecord], [contract_record("run1", "north")])
    place = folder / "lineage" / "contract_results"
    write_deltalake(place, rows.drop_columns(["suite"]))
    assert "cannot be read by this version" in only(folder, "lineage-rows").sentence


LOST = {
    "round-9": [participant_record("run1", 9, "north")],
    "status-7": [run_record("run1", 7)],
    "admission": [contract_record("run1", "south")],
    "restored-": [decision_record("run1", 0)],
    "restored-test": [replace(metric_record("run1", 9), window="test")],
    "restored-published": [replace(model_record("run1", 9, ""), published=True)],
}


@pytest.mark.parametrize("step", LOST)
def test_lost_rows_come_back_as_the_step_they_were(folder: Path, step: str) -> None:
    records = LOST[step]
    table = TABLE_OF[type(records[0])]
    place = folder / "lineage" / table.name
    if not place.exists():
        append_round(LineageStore(folder), "run2", 1)
        first = replace(records[0], run_id="run2")
        LineageStore(folder).append([first], run_id="run2", step="admission")
    name = "part-00000-0f0f0f0f-0000-0000-0000-000000000000-c000.snappy.parquet"
    pq.write_table(to_rows(table, records), place / name)
    (finding,) = [f for f in folder_findings(folder) if f.repair]
    assert name in finding.sentence
    finding.repair()
    assert records[0] in LineageStore(folder).read(table.record)
    expected = step if not step.startswith("restored") else "restored-0f0f0f0f"
    assert f"run1/{expected}" in read_log(place).transactions


def test_a_file_of_a_writer_that_died_and_wrote_again_is_no_loss(folder: Path) -> None:
    rows = to_rows(TABLE_OF[RoundRecord], [round_record("run1", 1)])
    pq.write_table(rows, folder / "lineage" / "rounds" / "part-7.parquet")
    (folder / "lineage" / "rounds" / "part-8.parquet").write_bytes(b"PAR1")
    assert folder_findings(folder) == ()


def old(path: Path, hours: float = 100.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - 3600 * hours,) * 2)
    return path


def test_old_temporary_files_are_a_note_and_young_ones_are_not(folder: Path) -> None:
    models = folder / "models"
    models.mkdir()
    (models / f".new.safetensors.{'0' * 32}").touch()
    assert folder_findings(folder) == ()
    old(models / f".old.safetensors.{'0' * 32}")
    old(folder / "lineage" / "rounds" / "part-1.snappy.parquet#1")
    finding = only(folder, "leftovers")
    assert finding.severity is Severity.NOTE
    assert finding.sentence.startswith("2 temporary files")


def test_models_that_no_row_names_are_found(folder: Path) -> None:
    named, parent, unnamed = (model(folder, value) for value in (1.0, 2.0, 3.0))
    lone = model(folder, 4.0, ("other", "items"))
    young = model(folder, 5.0, ("third",))
    for path in (folder / "models").iterdir():
        old(path)
    young.touch()
    vocabularies = {path.name for path in (folder / "models").glob("*.json")}
    rows = [
        replace(model_record("run1", 1, parent.stem), sha256=named.stem),
    ]
    found = unnamed_models(folder, rows, 24.0)
    assert set(found) >= {unnamed, lone}
    assert not {named, parent, young} & set(found)
    spare = [path for path in found if path.name in vocabularies]
    assert [json.loads(path.read_text()) for path in spare] == [["other", "items"]]
