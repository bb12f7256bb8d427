"""Random schedules: every round on record once, right models, nothing paid twice."""

from __future__ import annotations

import json
import signal
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_contracts.errors import SiloError
from data_contracts.records import RunHistory, RunStatus
from tasks.lineage.queries import history, runs
from tasks.lineage.store import LineageStore
from tasks.privacy_budget.ledger import Ledger
from tests.chaos.chaos_runs import ROOT, SETTINGS, Commands, Ended
from tests.chaos.schedules import MIN_SILOS, MODES, ROUNDS, SILOS, schedule_of
from tests.simulators.command_line import sandbox
from tests.simulators.in_process_cohort import silos_in_process
from tests.simulators.small_federation import small_config, small_tree, train
from tests.simulators.synthetic_tables import synthetic_silo

SCHEDULES, SMOKE = range(50), (0, 3)
MOST_COMMANDS = 12
COMMAND_SECONDS = 180
PRIVACY = {
    "declared_users": 100,
    "delta": 1e-3,
    "sampling_probability": 0.5,
    "steps_per_round": 1,
    "metrics": "in-silo",
}


@dataclass
class Tally:
    """What all schedules came to."""

    schedules: int = 0
    lost_rounds: int = 0
    wrong_models: int = 0
    double_charges: int = 0
    hangs: int = 0
    commands: list[int] = field(default_factory=list)


TALLY = Tally()


def tree_of(silos, output: Path, privacy: str) -> dict[str, Any]:
    sections = SETTINGS | {
        "schedule": {"rounds": ROUNDS},
        "cohort": {"min_silos": MIN_SILOS},
    }
    if privacy != "off":
        sections |= {"privacy": PRIVACY | {"mode": privacy}}
    return small_tree(silos, output, **sections)


@pytest.fixture(scope="module")
def silos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    return tuple(
        synthetic_silo(folder, name, users=60, items=40, seed=seed)
        for seed, name in enumerate(SILOS)
    )


@pytest.fixture(scope="module")
def play(silos, prefect_server):
    """Plays a schedule to the end of its run; (folder of the run, commands needed)."""
    with sandbox(
        PREFECT_API_URL=prefect_server.api,
        PREFECT_LOGGING_LEVEL="CRITICAL",
        PYTHONPATH=str(ROOT),
        OMP_NUM_THREADS="1",
    ) as machine:
        commands = Commands(machine)

        def played(seed: int) -> tuple[Path, int]:
            folder = machine.folder / f"schedule-{seed}"
            folder.mkdir()
            output, file = folder / "output", folder / "run.yaml"
            tree = tree_of(silos, output, schedule_of(seed).privacy)
            file.write_text(yaml.safe_dump(tree), "utf-8")
            arguments = ["train", str(file)]
            ended = Ended(0, "")
            for number in range(1, MOST_COMMANDS + 1):
                ended = commands.play(
                    "", True, arguments,
                    said=folder / "said", seed=seed, seconds=COMMAND_SECONDS,
                )  # fmt: skip
                if ended.status == 0:
                    return output, number
                require_clean(ended)
                arguments = resume_of(output, arguments)
            pytest.fail(f"{MOST_COMMANDS} commands do not end it: {ended.said}")

        yield played
        commands.close()


def require_clean(ended: Ended) -> None:
    """Killed as the schedule says, or one sentence; else it hung, or broke."""
    if ended.status == -signal.SIGALRM:
        TALLY.hangs += 1
    assert ended.status in {1, -signal.SIGKILL}, ended.said
    assert "Traceback" not in ended.said


def resume_of(output: Path, arguments: list[str]) -> list[str]:
    found = runs(LineageStore(output))
    if not found:  # It was killed before it was on record.
        return arguments
    return ["resume", found[0].run_id, "--output-folder", str(output)]


def told_by(output: Path) -> RunHistory:
    (run,) = runs(LineageStore(output))
    return history(LineageStore(output), run.run_id)


def models_of_contributors(silos, output: Path, told: RunHistory, monkeypatch):
    """Models of an undisturbed run that the same silos contribute to, by round."""
    missing = {
        (row.silo, row.round_number) for row in told.participants if not row.contributed
    }

    def as_recorded(step, workspace, *args):
        training = step.__name__ == "train_round"
        if training and (workspace.silo, args[1].round_number) in missing:
            raise SiloError("missing, as recorded")
        return step(workspace, *args)

    def opened(*args):
        cohort = silos_in_process(*args)
        return Meddled(cohort, as_recorded)

    monkeypatch.setattr("flows.federated_training.open_cohort", opened)
    sections = tree_of(silos, output, "off")
    del sections["cohort"]["silos"]
    again = train(small_config(silos, output, **sections))
    return [row.model_sha256 for row in again.history.rounds]


@dataclass
class Meddled:
    """Opens a cohort with a meddler."""

    opened: Any
    meddler: Any

    def __enter__(self):
        cohort = self.opened.__enter__()
        cohort.meddler = self.meddler
        return cohort

    def __exit__(self, *error):
        return self.opened.__exit__(*error)


def check(seed: int, play, silos, tmp_path, monkeypatch) -> None:
    TALLY.schedules += 1
    output, commands = play(seed)
    TALLY.commands.append(commands)
    told, privacy = told_by(output), schedule_of(seed).privacy
    assert told.run.status == RunStatus.COMPLETED

    on_record = Counter(row.round_number for row in told.rounds)
    TALLY.lost_rounds += sum(on_record[n] != 1 for n in range(1, ROUNDS + 1))
    assert on_record == Counter(range(1, ROUNDS + 1))
    by_round = Counter(row.round_number for row in told.participants)
    assert by_round == dict.fromkeys(range(1, ROUNDS + 1), len(SILOS))
    for row in told.rounds:
        there = [
            p.silo
            for p in told.participants
            if p.round_number == row.round_number and p.contributed
        ]
        assert len(there) == row.contributors >= MIN_SILOS

    if privacy == "off":
        models = [row.model_sha256 for row in told.rounds]
        right = models_of_contributors(silos, tmp_path / "again", told, monkeypatch)
        wrong = sum(a != b for a, b in zip(models, right, strict=True))
        TALLY.wrong_models += wrong
        assert not wrong
        return
    steps = ROUNDS * 1
    for silo in SILOS:
        entries = Ledger(output / "silos" / silo).entries()
        kinds = [entry.kind for entry in entries]
        TALLY.double_charges += kinds.count("intent") - 1
        assert kinds == ["intent", "settled"]
        assert [entry.events[0].steps for entry in entries] == [steps, steps]
        trained = Counter(rounds_trained(output / "silos" / silo))
        assert set(trained.values()) <= {1}


def rounds_trained(folder: Path) -> list[str]:
    """The rounds whose update the silo committed to, once for each time."""
    lines = (folder / "commitments.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["round"] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SMOKE)
def test_smoke(seed, play, silos, tmp_path, monkeypatch, prefect_session):
    check(seed, play, silos, tmp_path, monkeypatch)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [seed for seed in SCHEDULES if seed not in SMOKE])
def test_every_schedule(seed, play, silos, tmp_path, monkeypatch, prefect_session):
    check(seed, play, silos, tmp_path, monkeypatch)


def test_a_seed_is_a_schedule_and_another_one_is_another():
    drawn = [schedule_of(seed) for seed in SCHEDULES]
    assert drawn == [schedule_of(seed) for seed in SCHEDULES]
    assert len({replace(schedule, seed=0) for schedule in drawn}) == len(drawn)
    assert {schedule.privacy for schedule in drawn} == set(MODES)
    assert sum(len(schedule.kills) for schedule in drawn) > 60
    assert sum(len(schedule.troubles) for schedule in drawn) > 150
