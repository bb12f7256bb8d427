"""The same kill in every framework: `make bench-kill`.

Three or four silos, eight rounds; when the fifth begins, SIGKILL hits the process that
coordinates. Then the command that goes on is typed: `silorec resume` here, the same
command once more in Flower's simulation and in NVFLARE's simulator, with the workspace
they left, because neither has another. One JSON line per figure: how many of the four
finished rounds are trained a second time.

Simulators, because they are what runs on one machine without a set-up; the deployed
servers of both frameworks are not measured here. User code may save models in any of
them and begin a new run from one: that is no resumption, and not measured either.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import yaml

from data_contracts.records import RunStatus
from tasks.lineage.queries import history, runs
from tasks.lineage.store import LineageStore
from tests.benchmarks.figures import say
from tests.benchmarks.overhead import RIVALS, ROOT, Rival, tell
from tests.benchmarks.rivals import work
from tests.simulators.small_federation import small_tree
from tests.simulators.synthetic_tables import synthetic_silo

ROUNDS, FINISHED = 8, 4
LONGEST_SECONDS = 300.0


def main() -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory(
        prefix="silorec-kill-", ignore_cleanup_errors=True
    ) as name:
        measure_silorec(Path(name))
        for rival in RIVALS:
            if rival.package != "ray":
                measure_rival(rival, Path(name))


def measure_silorec(folder: Path) -> None:
    """Kill, resume, and compare with a run that nothing disturbed."""
    silos = [
        synthetic_silo(folder, f"silo-{n}", users=60, items=100, seed=n)
        for n in range(3)
    ]
    models = {}
    for name in ("undisturbed", "killed"):
        output, file = folder / name, folder / f"{name}.yaml"
        tree = small_tree(silos, output, schedule={"rounds": ROUNDS})
        file.write_text(yaml.safe_dump(tree), "utf-8")
        command = [sys.executable, "-m", "flows.cli"]
        options = {"PREFECT_HOME": str(folder / "prefect")}
        if name == "killed":
            begun = partial(has_recorded, output, FINISHED)
            kill_when(begun, [*command, "train", str(file)], options)
            (run,) = runs(LineageStore(output))
            resume = ["resume", run.run_id, "--output-folder", str(output)]
            began = time.monotonic()
            finish([*command, *resume], options)
            say("silorec_seconds_to_the_end_after_kill", time.monotonic() - began, "s")
        else:
            finish([*command, "train", str(file)], options)
        (run,) = runs(LineageStore(output))
        assert run.status == RunStatus.COMPLETED
        told = history(LineageStore(output), run.run_id)
        models[name] = [row.model_sha256 for row in told.rounds]
    again = max(trained(output, number) for number in range(1, FINISHED + 1)) - 1
    say("silorec_finished_rounds_trained_again", again, "rounds", goal="0")
    same = int(models["killed"] == models["undisturbed"])
    say("silorec_same_models_as_undisturbed", same, "yes or no", goal="1")


def has_recorded(output: Path, number: int) -> bool:
    """Whether the end of so many rounds is durable."""
    return any(
        int(f.name.split("-")[1].split(".")[0]) >= number for f in states(output)
    )


def states(output: Path) -> list[Path]:
    """The kept states of the only run there."""
    return list(output.glob("runs/*/round-*.safetensors"))


def trained(output: Path, number: int) -> int:
    """How often the busiest silo finished its training of the round."""
    return max(
        sum(
            json.loads(line)["round"].endswith(f"/{number}")
            for line in file.read_text("utf-8").splitlines()
        )
        for file in output.glob("silos/*/commitments.jsonl")
    )


def measure_rival(rival: Rival, folder: Path) -> None:
    """Kill, type the command again, and count."""
    interpreter = rival.interpreter()
    if interpreter is None:
        tell(f"{rival.figure} left out: {rival.package} is not installed")
        return
    log = folder / f"{rival.script}.jsonl"
    command = [interpreter, "-m", f"tests.benchmarks.rivals.{rival.script}"]
    options = {work.LOG: str(log), work.ROUNDS: str(ROUNDS)}
    kill_when(lambda: len(rounds_in(log)) > FINISHED, command, options)
    before = rounds_in(log)
    finished = before[:FINISHED]
    log.unlink()
    finish(command, options)
    again = len(set(finished) & set(rounds_in(log)))
    name = rival.script.partition("_")[0]
    say(f"{name}_finished_rounds_trained_again", again, "rounds")


def rounds_in(log: Path) -> list[int]:
    """Numbers of the rounds that have begun, in order."""
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return sorted({json.loads(line)["round"] for line in lines if line.endswith("}")})


def kill_when(
    begun: Callable[[], bool], command: list[str], options: dict[str, str]
) -> None:
    """Start the command, and end its process alone once it has come so far.

    What it started is ended afterwards: it must not be taken for a coordinator.
    """
    process = start(command, options)
    give_up = time.monotonic() + LONGEST_SECONDS
    while not begun() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be killed"
    helpers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for helper in helpers:
        with suppress(psutil.NoSuchProcess):
            helper.kill()
    psutil.wait_procs(helpers, timeout=10)


def finish(command: list[str], options: dict[str, str]) -> None:
    """The command, to its end."""
    assert start(command, options).wait(LONGEST_SECONDS) == 0


def start(command: list[str], options: dict[str, str]) -> subprocess.Popen[bytes]:
    """In a session of its own, saying nothing."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | options,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


if __name__ == "__main__":
    main()
