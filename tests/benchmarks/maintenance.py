"""What 1,000 rounds do to a commit: `python -m tests.benchmarks.maintenance`.

Prints one JSON line per figure. A commit writes the rows that a round of 16 silos
leaves, in six tables. Commits to a folder with 1,000 rounds take turns with the first
ones of an empty folder, so that whatever else the machine does slows both; each side
holds one of the merges that the store does by itself. Once more after maintenance.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from data_contracts.settings.maintenance import MaintenanceConfig
from tasks.lineage.maintenance import maintain
from tasks.lineage.store import LineageStore
from tests.benchmarks.figures import say
from tests.simulators.recorded_runs import MARCH, append_start, round_records

SILOS = {f"silo-{number:02d}": MARCH for number in range(16)}
TIMED = 40
GOAL = 2.0


def main(rounds: int = 1000) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        full = _store(Path(folder) / "full")
        for number in range(1, rounds + 1):
            _commit_milliseconds(full, number)
        late, first = _in_turn(full, rounds, Path(folder) / "first")
        say("commit_ms_of_first_rounds", first, "ms")
        say(f"commit_ms_after_{rounds}_rounds", late, "ms")
        name = f"commit_ms_after_{rounds}_rounds_over_first"
        say(name, late / first, "ratio", f"<= {GOAL:g}")

        start = perf_counter()
        maintain(MaintenanceConfig(output_folder=f"{folder}/full", remove=True))
        say("maintenance_seconds", perf_counter() - start, "s")
        full = LineageStore(Path(folder) / "full")
        late, first = _in_turn(full, rounds + TIMED, Path(folder) / "second")
        say(f"{name}_maintained", late / first, "ratio")


def _in_turn(full: LineageStore, rounds: int, empty: Path) -> tuple[float, float]:
    """Median milliseconds of a commit to the full store, and to an empty one."""
    other = _store(empty)
    late, first = [], []
    for number in range(1, TIMED + 1):
        late.append(_commit_milliseconds(full, rounds + number))
        first.append(_commit_milliseconds(other, number))
    return median(late), median(first)


def _store(folder: Path) -> LineageStore:
    store = LineageStore(folder)
    append_start(store, "run1")
    return store


def _commit_milliseconds(store: LineageStore, number: int) -> float:
    records = round_records("run1", number, parent="", silos=SILOS)
    start = perf_counter()
    store.append(records, run_id="run1", step=f"round-{number}")
    return 1000 * (perf_counter() - start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    main(parser.parse_args().rounds)
