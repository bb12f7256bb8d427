"""Maintenance: fewer files, the same rows, and nothing gone that anybody needs."""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from data_contracts.errors import LineageError
from data_contracts.records import KEYS, RoundRecord
from data_contracts.settings.maintenance import MaintenanceConfig, TableName
from tasks.lineage import maintenance, store
from tasks.lineage.delta_log import entry_path
from tasks.lineage.health import folder_findings
from tasks.lineage.maintenance import maintain
from tasks.lineage.merging import LOCK, merge_small_files
from tasks.lineage.model_files import save_model
from tasks.lineage.schema import TABLES
from tasks.lineage.store import LineageStore
from tasks.lineage.task import look_after_lineage
from tests.simulators.recorded_runs import (
    append_end,
    append_round,
    append_start,
    model_record,
)

ROUNDS = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = LineageStore(tmp_path)
    append_start(writer, "run1")
    for number in range(1, ROUNDS + 1):
        append_round(writer, "run1", number)
    append_end(writer, "run1")
    return tmp_path


def rows(folder: Path) -> dict[str, Counter]:
    reader = LineageStore(folder)
    return {
        t.name: Counter(map(attrgetter(*KEYS[t.record]), reader.read(t.record)))
        for t in TABLES
    }


def data_files(folder: Path, table: str = "rounds") -> list[Path]:
    return sorted((folder / "lineage" / table).glob("*.parquet"))


def made_old(folder: Path, hours: float = 1000.0) -> None:
    then = time.time() - 3600 * hours
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def settings(folder: Path, **changes: Any) -> MaintenanceConfig:
    return MaintenanceConfig(output_folder=str(folder), **changes)


def test_every_lineage_table_can_be_named() -> None:
    assert set(get_args(TableName)) == {table.name for table in TABLES}


def test_files_are_merged_and_no_row_changes(folder: Path) -> None:
    before = rows(folder)
    upkeep = maintain(settings(folder))
    changed = {table.table: table for table in upkeep.tables}
    assert changed["rounds"].files_before == ROUNDS
    assert all(table.files_after == 1 for table in upkeep.tables)
    assert rows(folder) == before
    assert folder_findings(folder) == ()
    again = maintain(settings(folder))
    assert all(table.files_before == 1 for table in again.tables)


def test_only_the_named_tables_are_looked_after(folder: Path) -> None:
    upkeep = maintain(settings(folder, tables=("rounds",)))
    assert [table.table for table in upkeep.tables] == ["rounds"]
    assert len(DeltaTable(folder / "lineage" / "metrics").file_uris()) == ROUNDS


def leave_behind(folder: Path) -> tuple[Path, Path]:
    """A model on no record, and the temporary file of a writer that died."""
    tensors = {"w": np.ones((2, 2), dtype=np.float32)}
    unnamed = save_model(folder, tensors, {}, ["a"]).path
    unfinished = folder / "lineage" / "rounds" / "part-1.snappy.parquet#1"
    unfinished.write_bytes(b"PAR1")
    return unnamed, unfinished


def test_without_permission_nothing_is_removed_and_all_is_told(folder: Path) -> None:
    maintain(settings(folder))
    unnamed, unfinished = leave_behind(folder)
    made_old(folder)
    before = {path for path in folder.rglob("*") if path.is_file()}
    upkeep = maintain(settings(folder, retention_hours=1))
    gone = before - set(folder.rglob("*"))
    assert gone == set()
    assert not upkeep.removed
    assert upkeep.leftovers == (str(unfinished.relative_to(folder)),)
    assert str(unnamed.relative_to(folder)) in upkeep.models
    assert len(upkeep.models) == 2  # Its vocabulary as well.
    assert upkeep.bytes_freed > unnamed.stat().st_size


def test_what_nothing_needs_is_removed_and_the_rest_can_be_read(
    folder: Path,
) -> None:
    before = rows(folder)
    unnamed, unfinished = leave_behind(folder)
    maintain(settings(folder))
    made_old(folder)
    reader = LineageStore(folder)
    assert len(reader.read(RoundRecord)) == ROUNDS
    upkeep = maintain(settings(folder, remove=True))
    assert upkeep.removed
    assert not unnamed.exists()
    assert not unfinished.exists()
    assert list((folder / "models").iterdir()) == []
    assert rows(folder) == before
    assert folder_findings(folder) == ()
    append_round(reader, "run2", 1)  # Who had the tables open goes on.
    assert len(LineageStore(folder).read(RoundRecord)) == ROUNDS + 1


def test_files_that_were_merged_long_ago_go_and_recent_ones_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maintain(settings(folder))
    kept = maintain(settings(folder, remove=True))
    assert len(data_files(folder)) == ROUNDS + 1
    assert all(table.replaced == 0 for table in kept.tables)
    monkeypatch.setattr(
        maintenance.DeltaTable,
        "vacuum",
        lambda handle, **given: VACUUM(handle, **given | {"retention_hours": 0}),
    )
    upkeep = maintain(settings(folder, remove=True))
    assert {t.table: t.replaced for t in upkeep.tables}["rounds"] == ROUNDS
    assert len(data_files(folder)) == 1


VACUUM = DeltaTable.vacuum


def test_young_leftovers_stay(folder: Path) -> None:
    unnamed, unfinished = leave_behind(folder)
    upkeep = maintain(settings(folder, remove=True))
    assert upkeep.leftovers == upkeep.models == ()
    assert unnamed.exists()
    assert unfinished.exists()


def test_models_of_silos_and_of_what_was_set_aside_are_not_touched(
    folder: Path,
) -> None:
    for name in ("silos/north", "set_aside/models"):
        (folder / name).mkdir(parents=True)
        (folder / name / f".x.{'0' * 32}").touch()
    made_old(folder)
    assert maintain(settings(folder, remove=True)).leftovers == ()


def test_a_model_that_an_unfinished_commit_names_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed, _ = leave_behind(folder)
    made_old(folder)
    row = model_record("run3", 1, unnamed.stem)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_deltalake", full)
    with pytest.raises(LineageError):
        LineageStore(folder).append([row], run_id="run3", step="round-1")
    assert str(unnamed.relative_to(folder)) not in maintain(settings(folder)).models


def test_nothing_is_touched_while_a_log_is_broken(folder: Path) -> None:
    leave_behind(folder)
    made_old(folder)
    entry_path(folder / "lineage" / "rounds", ROUNDS).write_bytes(b"")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(LineageError, match=r"entry 6 .*`silorec doctor --repair`"):
        maintain(settings(folder, remove=True, retention_hours=1))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="there is no output folder"):
        maintain(settings(tmp_path / "nowhere"))


def test_two_merges_at_once_are_kept_apart(folder: Path) -> None:
    before = rows(folder)
    place = folder / "lineage" / "rounds"
    with (place / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        upkeep = {table.table: table for table in maintain(settings(folder)).tables}
        assert upkeep["rounds"].files_after == ROUNDS
        assert upkeep["metrics"].files_after == 1
    # Who opened the table before merges what is there now.
    late = [DeltaTable(place) for _ in range(2)]
    assert [merge_small_files(handle, place) for handle in late] == [True, True]
    assert rows(folder) == before


def test_a_merge_that_fails_to_commit_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(handle: DeltaTable) -> None:
        raise CommitFailedError("another one committed")

    monkeypatch.setattr(maintenance.DeltaTable, "create_checkpoint", too_late)
    before = rows(folder)
    assert maintain(settings(folder)).tables
    assert rows(folder) == before


def test_the_task_says_what_was_done(folder: Path) -> None:
    told = look_after_lineage.fn(settings(folder)).sentences()
    assert "rounds: 6 data files are now 1, 0 replaced ones would go" in told
    assert "would go" in told[-1]


def test_a_retention_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="retention_hours"):
        MaintenanceConfig(retention_hours=0)
