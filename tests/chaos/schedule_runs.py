"""Plays a schedule to the end of its run, and finds what went wrong in the records."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from data_contracts.records import ModelVersionRecord, RunHistory, RunStatus
from models.vocabulary import FROZEN_TENSORS
from tasks.privacy_budget.entries import Entry
from tasks.privacy_budget.ledger import Ledger
from tests.chaos.chaos_runs import SETTINGS, ChaosRun
from tests.chaos.disturbances import encoded, trainings_beside
from tests.chaos.schedules import (
    ROUNDS,
    SETUP,
    SILOS,
    Event,
    Fault,
    Privacy,
    Schedule,
)

MOST_RESUMES = 6
STEPS_PER_ROUND = 2
TIGHT: dict[str, Any] = {
    "epsilon": 4.0, "declared_users": 100, "delta": 1e-3, "clip_norm": 0.5,
    "sampling_probability": 0.3, "steps_per_round": STEPS_PER_ROUND,
}  # fmt: skip


def settings_of(privacy: Privacy) -> dict[str, Any]:
    """Of runs of all schedules with this mode of privacy."""
    own: dict[str, Any] = {
        # Nobody stops early, or some schedules would have fewer rounds than others.
        "schedule": {"rounds": ROUNDS, "patience": ROUNDS},
    }
    if privacy != "off":
        own["privacy"] = {"mode": privacy, **TIGHT}
    return SETTINGS | own


@dataclass
class Findings:
    """What became of a schedule.

    Attributes:
        stretches: how each command ended.
        struck: events that happened.
        lost_rounds: rounds that are not on record once, with model and participants.
        wrong_models: rounds whose model is not what its contributors make.
        double_charges: silos whose ledger has not one intent and one settlement, or
            says less than was done.
        hang: a command was killed by its wall limit.
        seconds: of all commands.
        notes: what was found, in words.
    """

    stretches: list[str] = field(default_factory=list)
    struck: int = 0
    lost_rounds: int = 0
    wrong_models: int = 0
    double_charges: int = 0
    hang: bool = False
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def play(run: ChaosRun, schedule: Schedule) -> Findings:
    """Start, and resume until the run is completed, `MOST_RESUMES` times at most."""
    found, log = Findings(), log_of(run)
    stretches = [*schedule.stretches, *([()] * MOST_RESUMES)][: 1 + MOST_RESUMES]
    began = time.monotonic()
    for number, events in enumerate(stretches):
        told = encoded(events, log)
        ended = run.resume(told) if number else run.train(told)
        found.stretches.append(_words(ended.status, ended.said))
        if ended.status == -signal.SIGALRM:
            found.hang = True
            break
        if ended.status == 0:
            break
    found.seconds = time.monotonic() - began
    found.struck = len(log.read_text("utf-8").splitlines()) if log.exists() else 0
    return found


def log_of(run: ChaosRun) -> Path:
    """Where it is noted what struck."""
    return run.machine.folder / f"{run.name}.struck"


def _words(status: int, said: str) -> str:
    if status < 0:
        return signal.Signals(-status).name
    return "done" if status == 0 else f"stopped: {said.strip().splitlines()[-1:]}"


def forced(told: RunHistory) -> tuple[Event, ...]:
    """What must happen in a run that nothing else disturbs for the same models.

    A silo that is not in a round's sum does not train in it; one that is not in the
    validation metrics of a round does not evaluate in it.
    """
    members = {row.silo for row in told.participants}
    shown = {(m.round_number, m.silo) for m in told.metrics if m.window == "validation"}
    absent = [
        Fault(s, "load_tables", "fails", SETUP) for s in SILOS if s not in members
    ]
    out = [
        Fault(row.silo, "train_round", "fails", row.round_number)
        for row in told.participants
        if not row.contributed
    ]
    unseen = [
        Fault(silo, "evaluate_model", "fails", row.round_number)
        for row in told.rounds
        for silo in sorted(members)
        if (row.round_number, silo) not in shown
    ]
    return (*absent, *out, *unseen)


def lost_rounds(told: RunHistory) -> list[str]:
    """Rounds that are not on record exactly once, with a model and participants."""
    rounds = Counter(row.round_number for row in told.rounds)
    models = Counter(row.round_number for row in told.models if not row.published)
    people = Counter((row.round_number, row.silo) for row in told.participants)
    lost = []
    for number in range(1, ROUNDS + 1):
        silos = [times for (of, _), times in people.items() if of == number]
        if not (rounds[number] == models[number] == 1 and silos and set(silos) == {1}):
            lost.append(f"round {number}: {rounds[number]} rows, {silos} participants")
    if more := sorted(set(rounds) - set(range(1, ROUNDS + 1))):
        lost.append(f"rounds that were not asked for: {more}")
    return lost


def other_models(told: RunHistory, expected: RunHistory) -> list[str]:
    """Rounds whose model is not that of the run with the same contributors."""
    wanted = {row.round_number: row.model_sha256 for row in expected.rounds}
    wrong = [
        f"round {row.round_number}: another model than its contributors make"
        for row in told.rounds
        if row.model_sha256 != wanted.get(row.round_number)
    ]
    published = [
        [m.sha256 for m in of.models if m.published] for of in (told, expected)
    ]
    if published[0] != published[1]:
        wrong.append("another model is published")
    return wrong


def broken_chain(told: RunHistory, output: Path) -> list[str]:
    """Rounds of a private run that do not follow from the round before them.

    Each model names the one before it as its parent, and all of them start their
    scores from the same released popularity.
    """
    versions = {m.round_number: m for m in told.models if not m.published}
    wrong, parent, starts = [], "", set[bytes]()
    for row in told.rounds:
        version = versions[row.round_number]
        if (version.sha256, version.parent_sha256) != (row.model_sha256, parent):
            wrong.append(f"round {row.round_number}: does not follow from the last")
        parent = version.sha256
        starts.add(_popularity(output, version))
        if len(starts) > 1:
            wrong.append(f"round {row.round_number}: another popularity to start from")
            starts = {_popularity(output, version)}
    return wrong


def _popularity(output: Path, version: ModelVersionRecord) -> bytes:
    return load_file(output / version.path)[FROZEN_TENSORS[1]].tobytes()


def finished_trainings(run: ChaosRun) -> Counter[tuple[str, int]]:
    """How often a silo finished its training of a round."""
    lines = trainings_beside(log_of(run)).read_text("utf-8").splitlines()
    return Counter((silo, number) for silo, number in map(json.loads, lines))


def trained_otherwise(run: ChaosRun, told: RunHistory) -> list[str]:
    """Trainings that were finished twice, contributions that nobody committed to."""
    wrong = [
        f"round {number}: {silo} trained {times} times"
        for (silo, number), times in finished_trainings(run).items()
        if times > 1
    ]
    begun = set(run.trainings())
    wrong += [
        f"round {row.round_number}: {row.silo} contributed and did not train"
        for row in told.participants
        if row.contributed and (row.silo, str(row.round_number)) not in begun
    ]
    return wrong


def miscounted(run: ChaosRun, told: RunHistory, undisturbed: RunHistory) -> list[str]:
    """Silos whose ledger is not that of an undisturbed run, or says too little."""
    usual = {(row.silo, row.entry): row.epsilon for row in undisturbed.privacy}
    rows = {(row.silo, row.entry): row for row in told.privacy}
    members = sorted({row.silo for row in told.participants})
    wrong = []
    for silo in members:
        entries = Ledger(run.output / "silos" / silo).entries()
        kinds = [entry.kind for entry in entries]
        if kinds != ["intent", "settled"]:
            wrong.append(f"the ledger of {silo} holds {kinds}")
        if any(_steps(entry) < _done(run, silo) for entry in entries):
            wrong.append(f"the ledger of {silo} charges less than was done")
        for entry in ("charged", "settled"):
            row = rows.get((silo, entry))
            if row is None or row.epsilon != usual[silo, entry]:
                wrong.append(f"{silo}, {entry}: {row}, not {usual[silo, entry]}")
    return wrong


def _steps(entry: Entry) -> int:
    return entry.events[0].steps


def _done(run: ChaosRun, silo: str) -> int:
    mode = run.settings["privacy"]["mode"]
    rounds = sum(one == silo for one, _ in finished_trainings(run))
    return rounds * (1 if mode == "joint" else STEPS_PER_ROUND)


def completed(run: ChaosRun) -> bool:
    """Whether the run is on record as completed."""
    return run.history().run.status == RunStatus.COMPLETED
