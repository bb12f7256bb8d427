"""What a round costs beside training: `python -m tests.benchmarks.overhead`.

Four silos, a model of a million parameters, no training: the time from the start of
one round to the start of the next, median of the warm ones. silorec validates, masks,
sums, evaluates and records each of its rounds; the rivals hand the same model out and
average what comes back. One JSON line per figure on stdout, the machine on stderr.

Rivals run where they are installed: in this environment, or in the one whose
interpreter `SILOREC_FLOWER_PYTHON` or `SILOREC_NVFLARE_PYTHON` names.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.figures import say

ROOT = Path(__file__).parents[2]
GOAL_SECONDS = 0.25
RIVAL_SECONDS = 600


@dataclass(frozen=True)
class Rival:
    """Another way to run the same rounds.

    Attributes:
        figure: what its overhead is called.
        script: module that runs the rounds.
        package: what must be installed for it.
        variable: names the interpreter of its own environment, if it has one.
    """

    figure: str
    script: str
    package: str
    variable: str

    def interpreter(self) -> str | None:
        """Where it is installed, if anywhere."""
        if named := os.environ.get(self.variable):
            return named
        return sys.executable if importlib.util.find_spec(self.package) else None


RIVALS = (
    Rival("bare_ray", "bare_ray", "ray", "SILOREC_RAY_PYTHON"),
    Rival("flower_simulation", "flower_simulation", "flwr", "SILOREC_FLOWER_PYTHON"),
    Rival(
        "nvflare_simulator", "nvflare_simulator", "nvflare", "SILOREC_NVFLARE_PYTHON"
    ),
)


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    parser.add_argument("--silorec-only", action="store_true", help="leave rivals out")
    chosen = parser.parse_args()
    describe_machine()
    with tempfile.TemporaryDirectory(prefix="silorec-overhead-") as name:
        overhead = measure_silorec(Path(name), chosen.rounds)
        for rival in () if chosen.silorec_only else RIVALS:
            measure_rival(rival, Path(name), chosen.rounds, overhead)


def measure_silorec(folder: Path, rounds: int) -> float:
    """Overhead of a warm round, printed with its stages; seconds."""
    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    }
    # Imported late: Prefect reads its home when it is loaded.
    from tests.benchmarks.one_federation import run_silorec
    from tests.benchmarks.rivals import work

    log = folder / "silorec.jsonl"
    recorded = run_silorec(folder, log, rounds).history.rounds
    between = work.seconds_between_rounds(log)
    warm = recorded[work.WARM_UP_ROUNDS : -1]
    stages = {
        "train_call": [row.train_seconds for row in warm],
        "aggregate": [row.aggregate_seconds for row in warm],
        "evaluate": [row.evaluate_seconds for row in warm],
    }
    stages["record"] = [
        whole - sum(parts)
        for whole, *parts in zip(between, *stages.values(), strict=True)
    ]
    overhead = statistics.median(between)
    say("warm_round_overhead_seconds", overhead, "s", f"< {GOAL_SECONDS}")
    for stage, seconds in stages.items():
        say(f"warm_round_{stage}_seconds", statistics.median(seconds), "s")
    return overhead


def measure_rival(rival: Rival, folder: Path, rounds: int, overhead: float) -> None:
    """A rival's overhead of a warm round, printed with silorec's ratio to it."""
    from tests.benchmarks.rivals import work

    interpreter = rival.interpreter()
    if interpreter is None:
        tell(f"{rival.figure} left out: {rival.package} is not installed")
        return
    log = folder / f"{rival.script}.jsonl"
    done = subprocess.run(
        [interpreter, "-m", f"tests.benchmarks.rivals.{rival.script}"],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), work.LOG: str(log), work.ROUNDS: str(rounds)},
        capture_output=True,
        text=True,
        timeout=RIVAL_SECONDS,
        check=False,
    )
    if done.returncode:
        tell(f"{rival.figure} failed:\n{done.stderr[-2000:]}")
        return
    theirs = statistics.median(work.seconds_between_rounds(log))
    say(f"{rival.figure}_overhead_seconds", theirs, "s")
    say(f"warm_round_overhead_to_{rival.figure}", overhead / theirs, "ratio")


def describe_machine() -> None:
    """Cores, processor, load and versions."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    tell(f"{os.cpu_count()} cores, {(models or [platform.machine()])[0]}")
    tell(f"load average {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    packages = ("prefect", "ray", "torch", "deltalake", "pyarrow", "numpy")
    tell(", ".join(f"{name} {version(name)}" for name in packages))


def tell(sentence: str) -> None:
    """Something for a person."""
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
