"""Several writers at once, some of them killed, beside maintenance; and full disks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from pathlib import Path

import pytest

from data_contracts.errors import LineageError
from data_contracts.health import Severity, repair
from data_contracts.records import KEYS, MetricRecord, ParticipantRecord, RoundRecord
from data_contracts.settings.maintenance import MaintenanceConfig
from tasks.lineage import row_health, run_health, store
from tasks.lineage.delta_log import read_log
from tasks.lineage.health import folder_findings
from tasks.lineage.maintenance import maintain
from tasks.lineage.schema import TABLES
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import append_end, append_round, append_start

ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from pathlib import Path
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import append_end, append_round, append_start
folder, run_id, rounds = sys.argv[1:]
store = LineageStore(Path(folder))
append_start(store, run_id)
for number in range(1, int(rounds) + 1):
    append_round(store, run_id, number)
    print(number, flush=True)
append_end(store, run_id)
"""


def writer(folder: Path, run_id: str, rounds: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), run_id, str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def append_rounds(folder: Path, numbers: range) -> None:
    """As many processes in turn would."""
    for number in numbers:
        append_round(LineageStore(folder), "run1", number)


def problems(folder: Path) -> list[str]:
    found = folder_findings(folder)
    return [f.sentence for f in found if f.severity is Severity.PROBLEM]


def check_consistent(folder: Path) -> None:
    """Every key once, and every round that is on record is there whole."""
    reader = LineageStore(folder)
    for table in TABLES:
        keys = Counter(map(attrgetter(*KEYS[table.record]), reader.read(table.record)))
        assert set(keys.values()) <= {1}
    rounds = Counter((row.run_id, row.round_number) for row in reader.read(RoundRecord))
    for record, times in ((ParticipantRecord, 2), (MetricRecord, 3)):
        found = Counter((r.run_id, r.round_number) for r in reader.read(record))
        assert {key: found[key] for key in rounds} == dict.fromkeys(rounds, times)


def test_two_processes_write_two_runs_while_a_third_maintains(tmp_path: Path) -> None:
    writers = [writer(tmp_path, run_id, 12) for run_id in ("run1", "run2")]
    for process in writers:
        assert process.stdout is not None
        process.stdout.readline()
    config = MaintenanceConfig(output_folder=str(tmp_path), remove=True)
    while any(process.poll() is None for process in writers):
        maintain(config)
    assert [process.returncode for process in writers] == [0, 0]
    check_consistent(tmp_path)
    assert len(LineageStore(tmp_path).read(RoundRecord)) == 24
    assert problems(tmp_path) == []


def test_whoever_begins_at_once_finds_one_table(tmp_path: Path) -> None:
    table = TABLES[0]
    folders = [tmp_path / str(number) for number in range(40)]
    with ThreadPoolExecutor(6) as threads:
        opened = [
            threads.submit(LineageStore(folder)._open, table)
            for folder in folders
            for _ in range(6)
        ]
    assert [future.result().version() for future in opened] == [0] * len(opened)
    for folder in folders:
        (entry,) = read_log(folder / "lineage" / table.name).entries
        assert entry.version == 0


@pytest.mark.parametrize(
    "kills", [3, pytest.param(25, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_writer_killed_beside_another_leaves_a_store_that_can_be_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    steady = writer(tmp_path, "steady", 12 * kills)
    assert steady.stdout is not None
    steady.stdout.readline()
    for kill in range(kills):
        victim = writer(tmp_path, f"victim{kill}", 1000)
        assert victim.stdout is not None
        victim.stdout.readline()
        time.sleep(0.013 * (kill % 7))
        victim.kill()
        victim.communicate()
    assert steady.communicate()[0].split()[-1] == str(12 * kills)
    assert steady.returncode == 0

    for module in (row_health, run_health, store):
        monkeypatch.setattr(module, "SURELY_DEAD_SECONDS", 0.0)
    _, left = repair(partial(folder_findings, tmp_path))
    assert [f.sentence for f in left if f.severity is Severity.PROBLEM] == []
    check_consistent(tmp_path)
    rounds = Counter(row.run_id for row in LineageStore(tmp_path).read(RoundRecord))
    assert rounds["steady"] == 12 * kills
    assert all(rounds[f"victim{kill}"] >= 1 for kill in range(kills))


@pytest.mark.parametrize("pages", range(0, 30, 3))
def test_wherever_a_disk_fills_up_the_run_goes_on_once_there_is_space(
    tiny_disk: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    append_start(LineageStore(tiny_disk), "run1")
    append_round(LineageStore(tiny_disk), "run1", 1)
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(tiny_disk).free - pages * 4096))
    with pytest.raises(LineageError, match="no space is left there"):
        append_rounds(tiny_disk, range(2, 10))
    check_consistent(tiny_disk)
    reached = len(LineageStore(tiny_disk).read(RoundRecord))

    ballast.unlink()
    append_rounds(tiny_disk, range(reached, reached + 3))
    append_end(LineageStore(tiny_disk), "run1")
    check_consistent(tiny_disk)
    for module in (row_health, run_health, store):
        monkeypatch.setattr(module, "SURELY_DEAD_SECONDS", 0.0)
    assert problems(tiny_disk) == []


@pytest.mark.parametrize("pages", [0, 1, 2])
def test_maintenance_on_a_full_disk_is_one_sentence_and_loses_nothing(
    tiny_disk: Path, pages: int
) -> None:
    append_start(LineageStore(tiny_disk), "run1")
    for number in (1, 2):
        append_round(LineageStore(tiny_disk), "run1", number)
    append_end(LineageStore(tiny_disk), "run1")
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(tiny_disk).free - pages * 4096))
    config = MaintenanceConfig(output_folder=str(tiny_disk), remove=True)
    with pytest.raises(LineageError, match="no space is left there"):
        maintain(config)
    check_consistent(tiny_disk)
    assert problems(tiny_disk) == []
    ballast.unlink()
    assert maintain(config).removed
    check_consistent(tiny_disk)
    assert len(LineageStore(tiny_disk).read(RoundRecord)) == 2
