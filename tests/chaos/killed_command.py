"""The `silorec` command, with SIGKILL at the point that its first argument names."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any
from unittest.mock import patch

from flows.cli import main
from tests.chaos.kill_points import POINTS, ROUND, UPDATE, KillPoint, SiloKill
from tests.simulators.sabotage import meddling


def killing(point: KillPoint) -> AbstractContextManager[Any]:
    """Wrap the function of the point."""
    module, _, path = point.where.partition(":")
    owner = importlib.import_module(module)
    *classes, name = path.split(".")
    for inner in classes:
        owner = getattr(owner, inner)
    return patch.object(owner, name, _deadly(getattr(owner, name), point))


def _deadly(function: Callable[..., Any], point: KillPoint) -> Callable[..., Any]:
    calls, counting = 0, threading.Lock()

    @wraps(function)
    def deadly(*args: Any, **options: Any) -> Any:
        nonlocal calls
        with counting:
            calls += BELONGS[point.inside](args)
            strikes = calls == point.call and BELONGS[point.inside](args)
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


def disturbed(point: KillPoint | SiloKill) -> AbstractContextManager[Any]:
    """The block in which the point strikes."""
    return meddling(point) if isinstance(point, SiloKill) else killing(point)


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    with disturbed(POINTS[name]):
        sys.exit(main(arguments))
