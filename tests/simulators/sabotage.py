"""Silos that misbehave on purpose, inside their real Ray actors.

A *meddler* stands before every step of every silo: it gets the step, the workspace
and the arguments, and decides what happens. It travels to the actors, so it is a
picklable value of this module.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from data_contracts.columns import Column, TableName
from data_contracts.tables import SiloTables
from data_contracts.workspace import SiloStep, SiloWorkspace

Meddler = Callable[..., Any]
"""(step, workspace, *args) -> reply."""


@contextmanager
def meddling(meddler: Meddler) -> Iterator[None]:
    """Let `meddler` stand before every step that a Ray cohort calls."""
    from tasks.cohort.actor import RayCohort

    call = RayCohort.call

    def meddled(cohort: RayCohort, step: SiloStep[Any], *args: Any, **options: Any):
        return call(cohort, _MeddledStep(step, meddler), *args, **options)

    with patch.object(RayCohort, "call", meddled):
        yield


@dataclass(frozen=True)
class _MeddledStep:
    step: SiloStep[Any]
    meddler: Meddler

    @property
    def __name__(self) -> str:
        return self.step.__name__

    def __call__(self, workspace: SiloWorkspace, *args: Any) -> Any:
        return self.meddler(self.step, workspace, *args)


@dataclass(frozen=True)
class AnswerLate:
    """Every answer of a silo waits; silo -> seconds."""

    seconds: Mapping[str, float]

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        reply = step(workspace, *args)
        time.sleep(self.seconds[workspace.silo])
        return reply


@dataclass(frozen=True)
class Mischief:
    """Local training goes wrong where told: (silo, round) -> how."""

    plan: Mapping[tuple[str, int], Meddler]

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        if step.__name__ == "train_round":
            how = self.plan.get((workspace.silo, args[1].round_number))
            if how is not None:
                return how(step, workspace, *args)
        return step(workspace, *args)


def start_from_nan(
    step: SiloStep[Any], workspace: SiloWorkspace, model: Any, *args: Any
) -> Any:
    """The loss of this training is NaN from the first batch on."""
    return step(workspace, np.full_like(model, np.nan), *args)


def be_killed(step: SiloStep[Any], workspace: SiloWorkspace, *args: Any) -> Any:
    """SIGKILL hits the silo's process once its training has begun to move."""

    def kill_when_moving() -> None:
        while not workspace.progress.fraction:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)

    killer = threading.Thread(target=kill_when_moving, daemon=True)
    killer.start()
    step(workspace, *args)
    killer.join()


def quote_a_row(step: SiloStep[Any], workspace: SiloWorkspace, *args: Any) -> Any:
    """A bug of the kind that every library has: the exception quotes the data."""
    interactions = workspace.get(SiloTables).tables[TableName.INTERACTIONS]
    first = interactions[Column.USER][0].as_py()
    try:
        raise KeyError(first)
    except KeyError as error:
        raise ValueError(f"cannot train on {interactions.to_pylist()[:1]}") from error
