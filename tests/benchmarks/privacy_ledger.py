"""What a long ledger costs to compose: the second part of `make bench-privacy`."""

from __future__ import annotations

import time

from data_contracts.privacy_events import GaussianEvent
from models.privacy import accounting
from tests.benchmarks.figures import say

RUNS, DELTA = 104, 1e-6


def main() -> None:
    """Print the figure: two years of weekly runs, each with noise of its own."""
    events = [
        GaussianEvent(3.43 + 0.01 * run, 4096 / 100_000, 300) for run in range(RUNS)
    ]
    accounting._step.cache_clear()
    began = time.perf_counter()
    epsilon = accounting.epsilon(events, DELTA)
    seconds = time.perf_counter() - began
    say("ledger_104_runs_seconds", seconds, "s", "< 5")
    say("ledger_104_runs_epsilon", epsilon, "epsilon", "")


if __name__ == "__main__":
    main()
