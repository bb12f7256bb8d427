"""Random schedules: what dies, fails or comes late in a run of six silos, by seed.

Pure: the same seed gives the same schedule. `disturbances.py` makes it happen.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

from tests.chaos.kill_points import (
    AHEAD,
    FLOW,
    RECORD,
    SERVER,
    STORE,
    Inside,
    When,
)

SILOS = ("east", "isle", "north", "south", "valley", "west")
ROUNDS = 10
SCHEDULES = 50
SMOKE = (0, 1, 3)
"""Seeds that `make test` plays: one for each mode of privacy."""

SETUP, END = 0, ROUNDS
"""Round in which the steps before round 1, and those after the last, are counted."""

MOST_STRETCHES, MOST_FAULTS = 3, 3
Privacy = Literal["off", "local", "joint"]
PRIVACY: tuple[Privacy, ...] = ("off", "local", "off", "joint")
"""Of a seed, in turn: half of the runs are private."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL of the coordinator, and of the silos in its process.

    Attributes:
        where: `module:qualified name` of the function.
        when: on its way in or out.
        round_number: only calls in this round count.
        call: which of them, from 1.
        inside: only calls of the sum of updates, of the commit of a round, or of the
            commit that ends the run, count.
    """

    where: str
    when: When
    round_number: int = SETUP
    call: int = 1
    inside: Inside = ""


@dataclass(frozen=True)
class Fault:
    """What one silo does wrong, once.

    Attributes:
        silo: who.
        step: name of its step.
        how: `fails`: an error instead of the step. `late`: the step is done, and its
            answer comes after the deadline. `slow`: it waits, and answers last.
        round_number: in which round; there, only the sum of updates counts.
        call: which time that it is asked, from 1.
        seconds: that a slow silo waits.
    """

    silo: str
    step: str
    how: Literal["fails", "late", "slow"]
    round_number: int
    call: int = 1
    seconds: float = 0.0


Event = Kill | Fault
Stretch = tuple[Event, ...]


@dataclass(frozen=True)
class Schedule:
    """What happens to one run.

    Attributes:
        seed: of all of it.
        privacy: mode of the run.
        stretches: what happens to `silorec train`, then to each `silorec resume`; any
            later one is left alone.
    """

    seed: int
    privacy: Privacy
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class _Place:
    """Where the coordinator may be killed; `calls` is how often it gets there."""

    where: str
    whens: tuple[When, ...] = ("before", "after")
    calls: int = 1
    inside: Inside = ""
    runs: tuple[Privacy, ...] = ("off", "local", "joint")


PUBLIC: tuple[Privacy, ...] = ("off",)
PRIVATE: tuple[Privacy, ...] = ("local", "joint")
KILLED_IN_SETUP = (
    _Place(f"{FLOW}load_silo_tables"),
    _Place(f"{FLOW}record_admission"),
    _Place(f"{FLOW}agree_on_vocabulary"),
    _Place(f"{FLOW}record_departures"),
    _Place(f"{FLOW}charge_privacy", runs=PRIVATE),
    _Place("tasks.privacy_budget.ledger:Ledger.append", calls=6, runs=PRIVATE),
    _Place(f"{FLOW}start_from_popularity", runs=PRIVATE),
    _Place(f"{FLOW}start_progress"),
)
KILLED_IN_ROUND = (
    _Place(f"{FLOW}train_on_silos"),
    _Place(
        "tasks.local_training.silo_side:keep_update",
        ("after",), calls=6, runs=PUBLIC,
    ),
    _Place(
        "tasks.local_training.private_side:keep_update",
        ("after",), calls=6, runs=PRIVATE,
    ),
    _Place(f"{SERVER}receive", calls=30, inside="sum"),
    _Place(f"{SERVER}receive", calls=30, inside="sum"),
    _Place(f"{SERVER}close_advertising", inside="sum"),
    _Place(f"{SERVER}close_sharing", inside="sum"),
    _Place(f"{SERVER}close_uploads", inside="sum"),
    _Place(f"{SERVER}close_confirmations", inside="sum"),
    _Place(f"{SERVER}unmask", inside="sum"),
    _Place(f"{FLOW}update_global_model"),
    _Place(f"{FLOW}evaluate_on_silos", runs=PUBLIC),
    _Place(f"{RECORD}save_model"),
    _Place(f"{RECORD}write_state"),
    _Place(f"{AHEAD}put", inside="commit"),
    _Place(f"{STORE}_write_rows", calls=4, inside="commit"),
    _Place(f"{AHEAD}drop", inside="commit"),
    _Place(f"{FLOW}record_round"),
)  # fmt: skip
KILLED_AT_END = (
    _Place(f"{FLOW}release_private_metrics", runs=PRIVATE),
    _Place(f"{AHEAD}put", inside="end"),
    _Place(f"{STORE}_write_rows", calls=3, inside="end"),
    _Place(f"{FLOW}publish_model"),
    _Place(f"{FLOW}settle_privacy", runs=PRIVATE),
    _Place("tasks.privacy_budget.ledger:Ledger.append", calls=6, runs=PRIVATE),
    _Place(f"{FLOW}write_run_report", ("before",)),
)

OF_THE_SUM = (
    "advertise_keys", "share_keys", "upload_masked_input", "confirm_survivors",
    "reveal_shares",
)  # fmt: skip
LEAVING = ("load_tables", "validate_tables", "accept_snapshot", "preprocess")
"""Steps without which a silo is not in the run that begins."""

DOOR = (
    *LEAVING, "name_catalogue", "describe_items", "count_days", "mark_trained_items",
)  # fmt: skip
FAULTY_IN_SETUP: dict[Privacy, tuple[str, ...]] = {
    "off": (*DOOR, "count_items", *OF_THE_SUM),
    "local": (*DOOR, "charge_run", "release_popularity", "start_from"),
    "joint": (*DOOR, "charge_run", "share_popularity", "start_from", *OF_THE_SUM),
}
TRAINING = {
    "off": "train_round",
    "local": "train_round_privately",
    "joint": "train_round_privately",
}


def schedule(seed: int) -> Schedule:
    """The schedule of a seed."""
    dice = random.Random(seed)
    privacy = PRIVACY[seed % len(PRIVACY)]
    stretches: list[Stretch] = []
    first = SETUP
    for kill in _kills(dice, privacy):
        resumed = bool(stretches)
        faults = [
            _fault(dice, privacy, first, kill.round_number, resumed=resumed)
            for _ in range(dice.randint(1, MOST_FAULTS))
        ]
        stretches.append((*faults, kill))
        first = max(first, kill.round_number)
    return Schedule(seed, privacy, tuple(stretches))


def _kills(dice: random.Random, privacy: Privacy) -> list[Kill]:
    """One for each stretch, such that the ones before do not rule it out."""
    kinds = dice.choices(
        (KILLED_IN_SETUP, KILLED_IN_ROUND, KILLED_AT_END),
        weights=(1, 5, 1),
        k=dice.choice((1, 2, 2, MOST_STRETCHES)),
    )
    kinds.sort(key=lambda places: places is KILLED_AT_END)
    in_rounds = kinds.count(KILLED_IN_ROUND)
    rounds = sorted(dice.randint(1, ROUNDS) for _ in range(in_rounds))
    kills = []
    for places in kinds:
        number = SETUP if places is KILLED_IN_SETUP else END
        if places is KILLED_IN_ROUND:
            number = rounds.pop(0)
        place = dice.choice([place for place in places if privacy in place.runs])
        when, call = dice.choice(place.whens), dice.randint(1, place.calls)
        kills.append(Kill(place.where, when, number, call, place.inside))
    return kills


def _fault(
    dice: random.Random, privacy: Privacy, first: int, last: int, *, resumed: bool
) -> Fault:
    """Of one silo, in a round from `first` to `last`, or before the first one.

    While a run begins, a silo is slow or leaves it; while it goes on, anything may
    fail, and may stop it.
    """
    silo = dice.choice(SILOS)
    how: Literal["fails", "late", "slow"] = dice.choice(("fails", "late", "slow"))
    if last == SETUP or dice.random() < (0.3 if resumed else 0.15):
        step, number = dice.choice(FAULTY_IN_SETUP[privacy]), SETUP
        how = how if resumed or step in LEAVING else "slow"
    else:
        steps = [TRAINING[privacy], *OF_THE_SUM]
        steps += ["evaluate_model"] * (privacy == "off")
        step, number = dice.choice(steps), dice.randint(max(first, 1), last)
    sums = 3 if number == SETUP and step in OF_THE_SUM else 1
    fault = Fault(silo, step, how, number, dice.randint(1, sums))
    return replace(fault, seconds=dice.uniform(0.01, 0.1)) if how == "slow" else fault
