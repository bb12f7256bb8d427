"""What masking costs the demo: `python -m tests.benchmarks.demo_modes`.

Runs the demo's federated part in mode plain and in mode masked, in turn, and prints the
ratio of the best wall times of each. Comparisons are left out: they are the same.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

from tests.benchmarks.figures import say

TURNS = 2
GOAL = "<= 1.05"


def main() -> None:
    """Print every figure."""
    seconds: dict[str, list[float]] = {"plain": [], "masked": []}
    for _ in range(TURNS):
        for mode, taken in seconds.items():
            taken.append(run(mode))
    for mode, taken in seconds.items():
        say(f"demo_{mode}_seconds", min(taken), "s")
    ratio = min(seconds["masked"]) / min(seconds["plain"])
    say("demo_masked_over_plain", ratio, "ratio", GOAL)


def run(mode: str) -> float:
    """Wall seconds of one run, from the command to its last line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "flows.cli", "train", "--dataset", "ml-100k",
            "--evaluation.local-only", "false", "--output-folder", folder,
            "--secure-aggregation.mode", mode,
        ]  # fmt: skip
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
