"""What recording one round costs: `python -m tests.benchmarks.lineage_commit`.

Prints one JSON line per figure. The round has 16 silos, three metrics each, and rows
for all eight tables; the store is warm and already holds 30 rounds.
"""

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from tasks.lineage.model_files import save_model
from tasks.lineage.queries import history
from tasks.lineage.store import LineageStore
from tests.benchmarks.figures import say
from tests.simulators.recorded_runs import (
    MARCH,
    append_start,
    contract_record,
    metric_record,
    round_records,
    run_record,
    sha,
)

SILOS = [f"silo-{number:02d}" for number in range(16)]
WARM_ROUNDS, TIMED_ROUNDS = 30, 40


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        store = LineageStore(Path(folder))
        append_start(store, "run1")
        for number in range(1, WARM_ROUNDS):
            _append(store, number)
        rounds = range(WARM_ROUNDS, WARM_ROUNDS + TIMED_ROUNDS)
        commits = [_milliseconds(lambda n=n: _append(store, n)) for n in rounds]
        say("warm commit of one round, median", statistics.median(commits), "ms", "60")
        say("warm commit of one round, worst", max(commits), "ms", "400")
        say(
            "history of a run",
            _milliseconds(lambda: history(store, "run1")),
            "ms",
            "500",
        )

        generator = np.random.default_rng(0)
        items = [f"item-{number}" for number in range(4000)]
        models = [
            {"w": generator.standard_normal((1000, 1000)).astype(np.float32)}
            for _ in range(15)
        ]
        saves = [
            _milliseconds(lambda m=model: save_model(Path(folder), m, {}, items))
            for model in models
        ]
        say("save of 1M parameters, median", statistics.median(saves), "ms", "15")


def _append(store: LineageStore, number: int) -> None:
    records = round_records(
        "run1", number, parent="", silos=dict.fromkeys(SILOS, MARCH)
    )
    metrics = [
        replace(metric_record("run1", number, silo), metric=metric)
        for silo in SILOS
        for metric in ("hit-rate@10", "mrr@10")
    ]
    contract = replace(contract_record("run1", SILOS[0]), column=sha("run1", number))
    # A round writes neither of the last two; with them, all eight tables are timed.
    rows = [*records, *metrics, contract, run_record("run1", number)]
    store.append(rows, run_id="run1", step=f"round-{number}")


def _milliseconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return 1000 * (perf_counter() - start)


if __name__ == "__main__":
    main()
