"""What 1,000 rounds do to a commit: `python -m tests.benchmarks.maintenance`.

Prints one JSON line per figure. A commit writes the rows that a round of 16 silos
leaves, in six tables. Compared are medians of 40 commits each, so that each side holds
one of the compactions that the store does by itself: of the first rounds of an
empty folder, of the rounds after number 1,000, and of as many after maintenance.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import MARCH, append_start, round_records

SILOS = {f"silo-{number:02d}": MARCH for number in range(16)}
TIMED = 40
GOAL = 2.0


def main(rounds: int = 1000) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        store = LineageStore(Path(folder))
        append_start(store, "run1")
        commits = [_commit_milliseconds(store, n) for n in range(1, rounds + TIMED)]
        first = statistics.median(commits[:TIMED])
        late = statistics.median(commits[-TIMED:])
        _print("commit_ms_first_rounds", first, "ms")
        _print(f"commit_ms_after_{rounds}_rounds", late, "ms")
        ratio = late / first
        _print(f"commit_ms_after_{rounds}_rounds_over_first", ratio, "ratio", GOAL)
        for start in range(0, rounds, max(rounds // 10, 1)):
            print(start, statistics.median(commits[start : start + TIMED]), file=sys.stderr)


def _commit_milliseconds(store: LineageStore, number: int) -> float:
    records = round_records("run1", number, parent="", silos=SILOS)
    start = perf_counter()
    store.append(records, run_id="run1", step=f"round-{number}")
    return 1000 * (perf_counter() - start)


def _print(figure: str, value: float, unit: str, goal: float | None = None) -> None:
    line: dict[str, object] = {"figure": figure, "value": round(value, 4), "unit": unit}
    if goal is not None:
        line["goal"] = f"<= {goal:g}"
    print(json.dumps(line))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    main(parser.parse_args().rounds)
