"""What a preflight foretells: `python -m tests.benchmarks.preflight_estimate`.

A preflight and then the run itself, on the same silos and the same machine, one after
the other, that goes through all its rounds. One JSON line per figure on stdout, the
machine on stderr. With `--dataset` the run is that of a public data set; otherwise that
of four invented silos.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from data_contracts.presets import DATASETS, PRESETS, Tree, merged
from data_contracts.run_config import FederatedTrainingConfig, parse_config
from tests.benchmarks.figures import say
from tests.benchmarks.overhead import describe_machine

# However the metric moves, the run goes on: the estimate is for all rounds.
ALL_ROUNDS: Tree = {"schedule": {"max_regression": 1.0, "patience": 1000}}


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=sorted(DATASETS))
    parser.add_argument("--rounds", type=int, default=6, help="default: %(default)s")
    chosen = parser.parse_args()
    describe_machine()
    with tempfile.TemporaryDirectory(prefix="silorec-preflight-") as name:
        folder = Path(name)
        os.environ |= {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        }
        compare(configured(folder, chosen.dataset, chosen.rounds))


def configured(
    folder: Path, dataset: str | None, rounds: int
) -> FederatedTrainingConfig:
    """The run to foretell."""
    base = PRESETS[dataset] if dataset else invented(folder)
    tree = merged(base, merged(ALL_ROUNDS, {"output_folder": str(folder / "out")}))
    tree = merged(tree, {"schedule": {"rounds": rounds}})
    return parse_config(tree, origin="benchmark")


def invented(folder: Path) -> Tree:
    """Four silos whose rounds take seconds."""
    from tests.simulators.synthetic_tables import synthetic_silo

    silos = [
        synthetic_silo(
            folder / "tables", name, users=users, items=1500, length=80, seed=users
        ).model_dump(mode="json", exclude_none=True)
        for name, users in (("a", 150), ("b", 200), ("c", 250), ("d", 300))
    ]
    return {
        "cohort": {"silos": silos},
        "contracts": {"max_popularity_drift": 1.0},
        "preprocessing": {"min_interactions_per_item": 1},
    }


def compare(config: FederatedTrainingConfig) -> None:
    """Preflight, run, and each foretold figure over the actual one."""
    # Imported late: Prefect reads its home when it is loaded.
    from flows.embedded_server import start_embedded_server
    from flows.preflight import preflight
    from tests.simulators.small_federation import train

    start_embedded_server()
    began = time.monotonic()
    foretold = preflight(config).estimate
    assert foretold is not None
    took = time.monotonic() - began
    began = time.monotonic()
    rounds = train(config).history.rounds
    actual = time.monotonic() - began
    say("preflight_seconds", took, "s")
    say("run_seconds", actual, "s")
    say("preflight_estimate_over_actual", foretold.total_seconds / actual, "ratio")
    warm = statistics.median(row.round_seconds for row in rounds[1:])
    say(
        "preflight_warm_round_estimate_over_actual",
        foretold.round_seconds / warm,
        "ratio",
    )
    say(
        "preflight_bytes_down_over_actual",
        foretold.bytes_down / sum(row.bytes_down for row in rounds),
        "ratio",
    )


if __name__ == "__main__":
    main()
