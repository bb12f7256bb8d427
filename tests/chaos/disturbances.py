"""The block in which the events of a schedule happen, each at most once.

In the process of the run, silos included. What struck is noted in a file, for a kill
leaves nothing else behind.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from data_contracts.errors import FailureReason, SiloError
from data_contracts.settings.cohort import SiloConfig
from data_contracts.workspace import SiloStep, SiloWorkspace
from tests.chaos.kill_points import FLOW, UPDATE, in_a_sum_of
from tests.chaos.schedules import OF_THE_SUM, SETUP, Event, Fault, Kill
from tests.simulators.in_process_cohort import InProcessCohort, silos_in_process

KINDS = {"Kill": Kill, "Fault": Fault}
TRAINERS = (
    "tasks.local_training.silo_side:keep_update",
    "tasks.local_training.private_side:keep_update",
)


class LateError(SiloError):
    """The answer came after the deadline."""

    reason = FailureReason.TIMED_OUT


def encoded(events: Iterable[Event], log: Path) -> str:
    """Events as the command is told them; `disturbed` reads it."""
    listed = [[type(event).__name__, asdict(event)] for event in events]
    return json.dumps({"events": listed, "log": str(log)})


@dataclass
class Moment:
    """Where the run is, and how often it came by each event."""

    log: Path
    round_number: int = SETUP
    seen: Counter[int] = field(default_factory=Counter)
    counting: threading.Lock = field(default_factory=threading.Lock)

    def comes_by(self, event: Event, number: int) -> bool:
        """Whether this is the time of the event; noted, if it is."""
        if self.round_number != event.round_number:
            return False
        with self.counting:
            self.seen[number] += 1
            strikes = self.seen[number] == event.call
        if strikes:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(asdict(event))}\n")
        return strikes


@contextmanager
def disturbed(told: str) -> Iterator[None]:
    """Let the events of `encoded` happen."""
    order = json.loads(told)
    events = [KINDS[kind](**fields) for kind, fields in order["events"]]
    moment = Moment(Path(order["log"]))
    with ExitStack() as stack:
        stack.enter_context(_counting_rounds(moment))
        for where in TRAINERS:
            stack.enter_context(_noting_trainings(where, moment))
        faults = {n: e for n, e in enumerate(events) if isinstance(e, Fault)}
        meddler = _Meddler(faults, moment)
        opened = patch("flows.federated_training.open_cohort", meddler.opened)
        stack.enter_context(opened)
        for number, event in enumerate(events):
            if isinstance(event, Kill):
                stack.enter_context(_killing(event, number, moment))
        yield


def _counting_rounds(moment: Moment) -> Any:
    where = f"{FLOW}job_of_round"
    owner, name = _found(where)
    job_of_round = getattr(owner, name)

    @wraps(job_of_round)
    def counted(config: Any, round_number: int, *args: Any, **options: Any) -> Any:
        moment.round_number = round_number
        return job_of_round(config, round_number, *args, **options)

    return patch.object(owner, name, counted)


def _noting_trainings(where: str, moment: Moment) -> Any:
    """A training is finished once its update is kept; one cut short is made again."""
    owner, name = _found(where)
    keep_update = getattr(owner, name)

    @wraps(keep_update)
    def noted(folder: Path, run_id: str, round_number: int, update: Any) -> None:
        keep_update(folder, run_id, round_number, update)
        with trainings_beside(moment.log).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps([folder.name, round_number])}\n")

    return patch.object(owner, name, noted)


def trainings_beside(log: Path) -> Path:
    """Where [silo, round] of every finished training is noted."""
    return log.with_suffix(".trainings")


def _found(where: str) -> tuple[Any, str]:
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for inner in classes:
        owner = getattr(owner, inner)
    return owner, name


def _killing(kill: Kill, number: int, moment: Moment) -> Any:
    owner, name = _found(kill.where)
    function = getattr(owner, name)

    @wraps(function)
    def deadly(*args: Any, **options: Any) -> Any:
        belongs = BELONGS[kill.inside](args, moment.round_number)
        strikes = belongs and moment.comes_by(kill, number)
        if strikes and kill.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **options)
        if strikes:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return patch.object(owner, name, deadly)


def _step_of(args: tuple[Any, ...]) -> str:
    return str(next(value.step for value in args if hasattr(value, "step")))


BELONGS: dict[str, Callable[[tuple[Any, ...], int], bool]] = {
    "": lambda args, number: True,
    "sum": lambda args, number: (
        (args[0].terms.round_number, args[0].terms.purpose) == (number, UPDATE)
    ),
    "commit": lambda args, number: _step_of(args) == f"round-{number}",
    "end": lambda args, number: _step_of(args).startswith("status-"),
}


@dataclass(frozen=True)
class _Meddler:
    """Stands before every step of every silo."""

    faults: dict[int, Fault]
    moment: Moment

    @contextmanager
    def opened(
        self, silos: Iterable[SiloConfig], config: Any, run_id: str
    ) -> Iterator[InProcessCohort]:
        """Stands for `open_cohort`."""
        with silos_in_process(silos, config, run_id) as cohort:
            cohort.meddler = self
            cohort.answering_order = lambda asked: self._slow_last(asked, cohort)
            yield cohort

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        for number, fault in self.faults.items():
            if (fault.silo, fault.step) != (workspace.silo, step.__name__):
                continue
            if not self._belongs(step.__name__, workspace, args):
                continue
            if self.moment.comes_by(fault, number):
                return self._wrong(fault, step, workspace, *args)
        return step(workspace, *args)

    def _belongs(
        self, step: str, workspace: SiloWorkspace, args: tuple[Any, ...]
    ) -> bool:
        if step not in OF_THE_SUM or self.moment.round_number == SETUP:
            return True
        return in_a_sum_of(workspace, args) == (self.moment.round_number, UPDATE)

    def _wrong(
        self, fault: Fault, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        time.sleep(fault.seconds)
        if fault.how == "fails":
            raise ConnectionError
        reply = step(workspace, *args)
        if fault.how == "late":
            raise LateError(f"{fault.step} took longer than the deadline")
        return reply

    def _slow_last(self, asked: list[str], cohort: InProcessCohort) -> list[str]:
        now = self.moment.round_number
        slow = {
            fault.silo
            for fault in self.faults.values()
            if fault.how == "slow"
            and (fault.step, fault.round_number) == (cohort.steps[-1], now)
        }
        return sorted(asked, key=lambda silo: silo in slow)
