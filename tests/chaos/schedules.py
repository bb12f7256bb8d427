"""Random schedules of kills, drops and delays, drawn from a seed.

Pure: a seed gives a schedule, a schedule says what strikes when. `killed_command.py`
lets it strike, `test_schedules.py` plays it and looks at what is left.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from data_contracts.errors import SiloError
from data_contracts.secure_aggregation import AggregationTerms
from data_contracts.workspace import SiloStep, SiloWorkspace
from tests.chaos.kill_points import AHEAD, FLOW, RECORD, SERVER, STORE, UPDATE

ROUNDS = 10
SILOS = ("north", "south", "west", "east", "hill", "shore")
MIN_SILOS = 4
"""A drop in training and one in the sum leave four of six, which is the threshold."""

KILL_SITES: tuple[tuple[str, Literal["before", "after"]], ...] = (
    (FLOW + "train_on_silos", "before"),
    (FLOW + "train_on_silos", "after"),
    (FLOW + "record_round", "before"),
    (FLOW + "record_round", "after"),
    (SERVER + "close_advertising", "after"),
    (SERVER + "close_sharing", "after"),
    (SERVER + "close_uploads", "after"),
    (SERVER + "close_confirmations", "after"),
    (RECORD + "write_state", "before"),
    (RECORD + "write_state", "after"),
    (AHEAD + "put", "after"),
    (STORE + "_write_rows", "after"),
    (AHEAD + "drop", "before"),
)
TRAINING = ("train_round", "train_round_privately")
SUM_STEPS = (
    "advertise_keys", "share_keys", "upload_masked_input", "confirm_survivors",
    "reveal_shares",
)  # fmt: skip
MODES = ("off", "local", "off", "joint")


@dataclass(frozen=True)
class Kill:
    """SIGKILL of the coordinator, once."""

    site: int
    round_number: int


@dataclass(frozen=True)
class Trouble:
    """A silo fails, or is late, in a step of a round.

    Attributes:
        seconds: how late; 0: it fails.
        once: only the first time; else also when the round is done again.
    """

    silo: str
    phase: str
    round_number: int
    seconds: float
    once: bool


@dataclass(frozen=True)
class Schedule:
    """What strikes a run.

    Attributes:
        seed: it was drawn from.
        privacy: mode of the run.
    """

    seed: int
    privacy: str
    kills: tuple[Kill, ...]
    troubles: tuple[Trouble, ...]


def schedule_of(seed: int) -> Schedule:
    """Up to three kills, and in a third of all rounds a silo or two in trouble."""
    chance = random.Random(seed)
    kills = tuple(
        Kill(chance.randrange(len(KILL_SITES)), chance.randint(1, ROUNDS))
        for _ in range(chance.randint(1, 3))
    )
    troubles = []
    for number in range(1, ROUNDS + 1):
        first, second = chance.sample(SILOS, 2)
        for silo, phase in ((first, "train"), (second, chance.choice(SUM_STEPS))):
            if chance.random() < 0.25:
                late = chance.choice((0.0, 0.0, 0.05, 0.2))
                once = chance.random() < 0.5
                troubles.append(Trouble(silo, phase, number, late, once))
    return Schedule(seed, MODES[seed % len(MODES)], kills, tuple(troubles))


@dataclass(frozen=True)
class Strikes:
    """Lets a schedule strike; what has struck is marked in `folder`."""

    schedule: Schedule
    folder: Path

    def first_time(self, event: object) -> bool:
        """Whether this has not struck yet; now it has."""
        mark = self.folder / f"struck-{crc32(repr(event).encode())}"
        if mark.exists():
            return False
        mark.touch()
        return True

    def kill(self, kill: Kill, args: tuple[Any, ...]) -> bool:
        """Whether this call of the site is the one that is the last."""
        return round_of(args) == kill.round_number and self.first_time(kill)

    def meddle(self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any) -> Any:
        """Stands before every step of every silo."""
        name = step.__name__
        phase = "train" if name in TRAINING else name
        number = round_of((*args, *_terms_of(workspace)))
        for trouble in self.schedule.troubles:
            met = (trouble.silo, trouble.phase, trouble.round_number) == (
                workspace.silo, phase, number,
            )  # fmt: skip
            if not met or (trouble.once and not self.first_time(trouble)):
                continue
            if not trouble.seconds:
                raise SiloError(f"silo {workspace.silo} is in trouble")
            time.sleep(trouble.seconds)
        return step(workspace, *args)


def _terms_of(workspace: SiloWorkspace) -> tuple[AggregationTerms, ...]:
    has = workspace.has(AggregationTerms)
    return (workspace.get(AggregationTerms),) if has else ()


def round_of(args: tuple[Any, ...]) -> int:
    """The round that a call belongs to, by its arguments; 0: to none, or another sum.

    >>> class Commit: step = "round-7"
    >>> round_of((Commit(),))
    7
    """
    for value in args:
        terms = getattr(value, "terms", value)
        if isinstance(terms, AggregationTerms):
            return terms.round_number if terms.purpose == UPDATE else 0
        if isinstance(step := getattr(value, "step", None), str):
            return int(step.partition("round-")[2] or 0)
        if isinstance(number := getattr(value, "round_number", None), int):
            return number
    return 0


def kill_now() -> None:
    """No farewell."""
    os.kill(os.getpid(), signal.SIGKILL)
