"""The `silorec` command again and again, with SIGKILL at one point of it, or none.

Started once: it loads everything, then makes a copy of itself for each command it reads
from its input, a line of JSON, and says how that one ended. That saves most of what a
command takes. Asked for silos `in-process`, they live and die with the coordinator, as
those of a cluster that a run starts for itself; else they are Ray actors.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flows.cli import main
from tests.chaos.disturbances import disturbed
from tests.chaos.faults import FAULTS
from tests.chaos.kill_points import POINTS, ROUND, UPDATE, KillPoint, SiloKill
from tests.simulators.in_process_cohort import silos_in_process
from tests.simulators.sabotage import meddling


def killing(point: KillPoint) -> AbstractContextManager[Any]:
    """Wrap the function of the point."""
    owner, name = owner_of(point.where)
    return patch.object(owner, name, _deadly(getattr(owner, name), point))


def owner_of(where: str) -> tuple[Any, str]:
    """(module or class, name in it) of `module:qualified name`."""
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for inner in classes:
        owner = getattr(owner, inner)
    return owner, name


def _deadly(function: Callable[..., Any], point: KillPoint) -> Callable[..., Any]:
    calls, counting = 0, threading.Lock()

    @wraps(function)
    def deadly(*args: Any, **options: Any) -> Any:
        nonlocal calls
        belongs = BELONGS[point.inside](args)
        with counting:
            calls += belongs
            strikes = belongs and calls == point.call
        if strikes and point.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **options)
        if strikes:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return deadly


def _step_of(args: tuple[Any, ...]) -> str:
    commit = next(value for value in args if hasattr(value, "step"))
    return str(commit.step)


BELONGS: dict[str, Callable[[tuple[Any, ...]], bool]] = {
    "": lambda args: True,
    "sum": lambda args: (
        (args[0].terms.round_number, args[0].terms.purpose) == (ROUND, UPDATE)
    ),
    "commit": lambda args: _step_of(args) == f"round-{ROUND}",
    "end": lambda args: _step_of(args) == "status-1",
}


def _block_of(point: str) -> AbstractContextManager[Any]:
    """The block in which the point, or the events of a schedule, strike."""
    if point not in POINTS:
        return disturbed(point)
    found = POINTS[point]
    return meddling(found) if isinstance(found, SiloKill) else killing(found)


def run(order: dict[str, Any]) -> int:
    """One command in this process; the exit status, if it lives to have one."""
    point, arguments = order["point"], order["arguments"]
    with ExitStack() as stack:
        if order["in_process"]:
            opened = patch("flows.federated_training.open_cohort", silos_in_process)
            stack.enter_context(opened)
        if name := order.get("fault"):
            stack.enter_context(FAULTS[name].during(order))
        if name := order.get("resuming"):
            stack.enter_context(FAULTS[name].resumed_during(order))
        if point:
            stack.enter_context(_block_of(point))
        return main(arguments)


def play(order: dict[str, Any]) -> int:
    """The same in a copy of this process; its exit status, or minus its signal."""
    child = os.fork()
    if child == 0:
        said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        status = 70
        # Nobody handles it: a command that hangs dies of it, by name.
        signal.alarm(order["limit"])
        try:
            status = run(order)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for module in ("flows.federated_training", "great_expectations", "ray"):
        importlib.import_module(module)
    print("ready", len(list(Path("/proc/self/task").iterdir())), flush=True)
    for line in sys.stdin:
        print(play(json.loads(line)), flush=True)
