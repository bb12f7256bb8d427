"""Broken Delta logs: each is named in one sentence, and repaired without a loss."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from pathlib import Path

import pytest
from deltalake import DeltaTable

from data_contracts.health import repair
from data_contracts.records import KEYS, DecisionRecord, RoundRecord, RunRecord
from tasks.lineage import row_health, run_health, store
from tasks.lineage.delta_log import LOG_FOLDER, entry_path, read_log
from tasks.lineage.health import folder_findings
from tasks.lineage.log_health import log_findings
from tasks.lineage.schema import TABLES
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import append_end, append_round, append_start

ROUNDS = 5
LAST = ROUNDS  # Entry 0 makes the table, then one entry a round.


@pytest.fixture(autouse=True)
def dead_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (row_health, run_health, store):
        monkeypatch.setattr(module, "SURELY_DEAD_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A completed run of five rounds."""
    writer = LineageStore(tmp_path)
    append_start(writer, "run1")
    for number in range(1, ROUNDS + 1):
        append_round(writer, "run1", number)
    append_end(writer, "run1")
    return tmp_path


def table(folder: Path, name: str = "rounds") -> Path:
    return folder / "lineage" / name


def everything(folder: Path) -> dict[str, Counter]:
    reader = LineageStore(folder)
    return {
        t.name: Counter(map(attrgetter(*KEYS[t.record]), reader.read(t.record)))
        for t in TABLES
    }


def repaired(folder: Path) -> tuple[str, ...]:
    done, left = repair(partial(folder_findings, folder))
    assert left == ()
    return done


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def cut_lines(path: Path, lines: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:lines]))


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


BREAKS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short at once": lambda path: cut(path, 40),
    "cut short in its first line": lambda path: cut(path, 300),
    "cut short in its second line": lambda path: cut(path, 900),
    "without its second line": lambda path: cut_lines(path, 1),
    "without its third line": lambda path: cut_lines(path, 2),
    "zeros, as after a power cut": zeros,
    "other text": lambda path: path.write_text("[]\n"),
}


def test_a_sound_folder_has_no_findings(folder: Path) -> None:
    assert folder_findings(folder) == ()


@pytest.mark.parametrize("name", ["rounds", "metrics", "decisions", "model_versions"])
@pytest.mark.parametrize("version", [LAST, 3])
@pytest.mark.parametrize("kind", BREAKS)
def test_a_broken_entry_is_named_and_its_rows_are_restored(
    folder: Path, kind: str, version: int, name: str
) -> None:
    before = everything(folder)
    broken = entry_path(table(folder, name), version)
    BREAKS[kind](broken)
    (finding,) = log_findings(folder)
    assert f"entry {version} of the Delta log of lineage table {name}" in (
        finding.sentence
    )
    assert str(broken) in finding.sentence
    assert "silorec doctor --repair" in finding.sentence
    done = repaired(folder)
    assert any(
        f"restored {sum(before[name].values()) // ROUNDS} rows" in s for s in done
    )
    assert everything(folder) == before
    append_round(LineageStore(folder), "run1", 3)  # Repeated: still there once.
    append_round(LineageStore(folder), "run2", 1)
    assert everything(folder)["rounds"][("run2", 1)] == 1
    assert dict.fromkeys(before[name], 1).items() <= everything(folder)[name].items()
    assert DeltaTable(table(folder, name)).version() >= LAST


def test_what_was_in_the_way_is_set_aside_not_deleted(folder: Path) -> None:
    broken = entry_path(table(folder), LAST)
    cut(broken, 300)
    rest = broken.read_bytes()
    repaired(folder)
    kept = folder / "set_aside" / broken.relative_to(folder)
    assert kept.read_bytes() == rest


@pytest.mark.parametrize("version", [0, 2])
def test_a_gap_in_the_log_is_closed(folder: Path, version: int) -> None:
    before = everything(folder)
    entry_path(table(folder), version).unlink()
    (finding,) = log_findings(folder)
    assert f"entry {version} " in finding.sentence
    assert "is missing" in finding.sentence
    repaired(folder)
    assert everything(folder) == before


def test_a_last_entry_that_is_gone_leaves_its_rows_to_be_restored(
    folder: Path,
) -> None:
    before = everything(folder)
    entry_path(table(folder), LAST).unlink()
    assert log_findings(folder) == ()
    (finding,) = [f for f in folder_findings(folder) if f.repair]
    assert "1 rows of run run1 are in data file" in finding.sentence
    repaired(folder)
    assert everything(folder) == before


def test_a_log_without_entries_is_made_again_if_there_is_no_data(
    tmp_path: Path,
) -> None:
    writer = LineageStore(tmp_path)
    append_start(writer, "run1")
    append_end(writer, "run1")
    log = table(tmp_path, "decisions") / LOG_FOLDER
    log.mkdir(parents=True)
    (finding,) = folder_findings(tmp_path)
    assert "has no entry" in finding.sentence
    repaired(tmp_path)
    assert LineageStore(tmp_path).read(DecisionRecord) == ()


def test_a_log_without_entries_beside_data_is_left_to_people(folder: Path) -> None:
    for path in (table(folder) / LOG_FOLDER).iterdir():
        path.unlink()
    done, left = repair(partial(folder_findings, folder))
    assert done == ()
    assert "restore lineage/rounds from a backup" in left[0].sentence


def merged(folder: Path, *, checkpoint: bool) -> int:
    """Merge the table's files; returns the version that did."""
    handle = DeltaTable(table(folder))
    handle.optimize.compact()
    if checkpoint:
        handle.create_checkpoint()
    return handle.version()


def test_a_broken_merge_at_the_end_is_undone(folder: Path) -> None:
    before = everything(folder)
    cut_lines(entry_path(table(folder), merged(folder, checkpoint=False)), 3)
    assert "lacks a part of its commit" in log_findings(folder)[0].sentence
    repaired(folder)
    assert everything(folder) == before


def test_a_broken_merge_that_others_build_upon_is_left_to_people(
    folder: Path,
) -> None:
    version = merged(folder, checkpoint=False)
    for number in (6, 7):
        append_round(LineageStore(folder), "run1", number)
    merged(folder, checkpoint=False)
    broken = entry_path(table(folder), version)
    cut(broken, 40)
    done, left = repair(partial(folder_findings, folder))
    assert done == ()
    assert "later entries build upon it" in left[0].sentence
    assert broken.stat().st_size == 40


def test_a_broken_step_whose_file_was_merged_since_gets_no_rows_twice(
    folder: Path,
) -> None:
    before = everything(folder)
    merged(folder, checkpoint=False)
    cut(entry_path(table(folder), 3), 200)
    # Of a cut line nothing is known, and the merge took its file away.
    assert log_findings(folder)[0].repair is None
    entry = entry_path(table(folder), 3)
    shutil.copy(entry_path(table(folder), 2), entry)
    cut_lines(entry, 1)
    repaired(folder)
    assert everything(folder) == before


def test_entries_before_a_checkpoint_may_be_gone(folder: Path) -> None:
    before = everything(folder)
    version = merged(folder, checkpoint=True)
    for number in range(version):
        entry_path(table(folder), number).unlink()
    assert folder_findings(folder) == ()
    assert everything(folder) == before
    assert read_log(table(folder)).checkpoint == version


def test_a_damaged_checkpoint_is_set_aside_while_the_entries_are_there(
    folder: Path,
) -> None:
    before = everything(folder)
    version = merged(folder, checkpoint=True)
    path = table(folder) / LOG_FOLDER / f"{version:020d}.checkpoint.parquet"
    cut(path, 100)
    (finding,) = log_findings(folder)
    assert "checkpoint" in finding.sentence
    assert str(path) in finding.sentence
    repaired(folder)
    assert everything(folder) == before


def test_a_damaged_checkpoint_without_its_entries_is_left_to_people(
    folder: Path,
) -> None:
    version = merged(folder, checkpoint=True)
    cut(table(folder) / LOG_FOLDER / f"{version:020d}.checkpoint.parquet", 100)
    entry_path(table(folder), 1).unlink()
    left = [f for f in folder_findings(folder) if "checkpoint" in f.sentence]
    assert left[0].repair is None
    assert "restore lineage/rounds from a backup" in left[0].sentence


def test_several_tables_are_repaired_at_once(folder: Path) -> None:
    before = everything(folder)
    for name, version in (("rounds", 5), ("rounds", 4), ("metrics", 2), ("runs", 2)):
        cut(entry_path(table(folder, name), version), 250)
    assert len(log_findings(folder)) == 4
    repaired(folder)
    assert everything(folder) == before
    assert LineageStore(folder).read(RunRecord)[-1].status == "completed"
    assert len(LineageStore(folder).read(RoundRecord)) == ROUNDS


def test_a_sentence_holds_no_value_of_a_row(folder: Path) -> None:
    cut(entry_path(table(folder), LAST), 900)
    for finding in folder_findings(folder):
        assert "c0c0" not in finding.sentence
        assert "\n" not in finding.sentence
