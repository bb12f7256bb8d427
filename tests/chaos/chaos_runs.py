"""Runs of the command that are killed, resumed, and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from data_contracts.records import RunHistory, Verdict
from data_contracts.settings.cohort import SiloConfig
from tasks.lineage.queries import history, runs
from tasks.lineage.store import LineageStore
from tests.chaos.kill_points import ROUNDS
from tests.simulators.command_line import Sandbox
from tests.simulators.small_federation import small_tree

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 300
"""After which a command is said to hang."""

SETTINGS: dict[str, Any] = {
    "model": {"dim": 8, "context": 10, "blocks": 1, "dropout": 0.1},
    "local_training": {"epochs": 1, "batch_size": 16, "learning_rate": 0.02},
    "schedule": {"rounds": ROUNDS},
    # With memory, so that it must come back.
    "server_optimizer": {"name": "adam", "learning_rate": 0.01},
    "evaluation": {"baselines": False, "local_only": False},
    "cohort": {"min_silos": 3},
}


@dataclass(frozen=True)
class Outcome:
    """What of a run must be the same whatever died in it."""

    models: tuple[str, ...]
    published: tuple[str, ...]
    metrics: frozenset[tuple[Any, ...]]
    decisions: frozenset[tuple[Any, ...]]
    contributors: frozenset[tuple[int, str, bool, str]]


def outcome_of(told: RunHistory) -> Outcome:
    """The facts of a run without its times and byte counts."""
    return Outcome(
        models=tuple(row.model_sha256 for row in told.rounds),
        published=tuple(row.sha256 for row in told.models if row.published),
        metrics=frozenset(
            (m.round_number, m.subject, m.silo, m.window, m.metric, m.value, m.users)
            for m in told.metrics
        ),
        decisions=frozenset(
            (d.round_number, d.verdict, d.silo, d.sentence)
            for d in told.decisions
            # That a silo was missing at the door, or came back, stays on record.
            if d.round_number and d.verdict != Verdict.SILO_RETURNED
        ),
        contributors=frozenset(
            (p.round_number, p.silo, p.contributed, p.reason) for p in told.participants
        ),
    )


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: exit status, or minus the signal that killed it.
        said: everything it printed.
    """

    status: int
    said: str


class Commands:
    """A process that plays commands; see `killed_command.py`."""

    def __init__(self, machine: Sandbox) -> None:
        self._machine = machine
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.killed_command"],
            cwd=machine.work,
            env=machine.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer().startswith("ready")

    def play(
        self,
        point: str,
        in_process: bool,
        arguments: list[str],
        *,
        said: Path | None = None,
        **more: Any,
    ) -> Ended:
        """One command to its end; `said` keeps what it prints."""
        said = said or self._machine.folder / "said"
        order = {
            "point": point, "in_process": in_process, "arguments": arguments,
            "said": str(said), "limit": LIMIT_SECONDS, **more,
        }  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        status = int(self._answer())
        return Ended(status, said.read_text("utf-8"))

    def close(self) -> None:
        """No more commands."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@dataclass(frozen=True)
class ChaosRun:
    """A folder in which one run is started, killed and resumed."""

    machine: Sandbox
    commands: Commands
    silos: tuple[SiloConfig, ...]
    name: str
    in_process: bool = True
    settings: Mapping[str, Any] = field(default_factory=lambda: SETTINGS)

    @property
    def output(self) -> Path:
        """The run's output folder."""
        return self.machine.folder / self.name

    def train(
        self,
        point: str = "",
        *,
        sections: Mapping[str, Any] = MappingProxyType({}),
        **more: Any,
    ) -> Ended:
        """`silorec train`, with SIGKILL at the point; `more` goes into the order."""
        settings = {**self.settings, **sections}
        tree = small_tree(self.silos, self.output, **settings)
        file = self.machine.work / f"{self.name}.yaml"
        file.write_text(yaml.safe_dump(tree), "utf-8")
        arguments = ["train", str(file)]
        return self.commands.play(point, self.in_process, arguments, **more)

    def resume(self, point: str = "", **more: Any) -> Ended:
        """`silorec resume`, with SIGKILL at the point."""
        arguments = ["resume", self.run_id, "--output-folder", str(self.output)]
        return self.commands.play(point, self.in_process, arguments, **more)

    @property
    def run_id(self) -> str:
        """The only run there is."""
        (run,) = runs(LineageStore(self.output))
        return run.run_id

    def history(self) -> RunHistory:
        """All that is on record."""
        return history(LineageStore(self.output), self.run_id)

    def trainings(self) -> list[tuple[str, str]]:
        """(silo, round) of every local training that was finished, in any process."""
        done = []
        for file in sorted(self.output.glob("silos/*/commitments.jsonl")):
            for line in file.read_text("utf-8").splitlines():
                number = json.loads(line)["round"].rpartition("/")[2]
                done.append((file.parent.name, number))
        return done
