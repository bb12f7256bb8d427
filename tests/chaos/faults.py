"""Faults that are no kill of our own: disks, files, clocks, servers, silos.

A fault strikes inside the command, by wrapping functions of the product, or between the
command and `silorec resume`, on what lies on disk. The product knows nothing of it.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from data_contracts import stopwatch
from data_contracts.workspace import SiloStep, SiloWorkspace
from tests.chaos.kill_points import ROUND, VICTIM
from tests.simulators.sabotage import meddling

HOUR = 3600.0
Block = Callable[[dict[str, Any]], AbstractContextManager[Any]]
"""(order of the command) -> the block in which it strikes."""


def nothing(order: dict[str, Any]) -> AbstractContextManager[Any]:
    """No fault."""
    return nullcontext()


def leave(output: Path) -> None:
    """Nothing happens between the commands."""


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
        name: as the table says it.
        during: strikes in `silorec train`.
        between: done to the output folder before `silorec resume`.
        resumed_during: strikes in `silorec resume`.
        mended: done before a second `silorec resume`, should the first one refuse.
        with_actors: silos are Ray actors.
        sections: settings of the run.
        smoke: part of `make test`.
    """

    name: str
    during: Block = nothing
    between: Callable[[Path], None] = leave
    resumed_during: Block = nothing
    mended: Callable[[Path], None] = leave
    with_actors: bool = False
    sections: dict[str, Any] = field(default_factory=dict)
    smoke: bool = False


@contextmanager
def _at_the_round(strike: Callable[[], None]) -> Iterator[None]:
    """Do something once, when the round begins that is disturbed."""
    import flows.federated_training as flow

    bring_back = flow.bring_silos_back

    def begins(cohort: Any, round_number: int) -> Any:
        if round_number == ROUND:
            strike()
        return bring_back(cohort, round_number)

    with patch.object(flow, "bring_silos_back", begins):
        yield


def killed_after_the_round(order: dict[str, Any]) -> AbstractContextManager[Any]:
    """SIGKILL of the coordinator once the round is on record."""
    import flows.federated_training as flow

    record = flow.record_round

    def last(run: Any, outcome: Any, *more: Any) -> Any:
        state = record(run, outcome, *more)
        if outcome.round_number == ROUND:
            from tasks.lineage.store import open_store

            open_store(run.store_folder).finish()
            os.kill(os.getpid(), signal.SIGKILL)
        return state

    return patch.object(flow, "record_round", last)


@contextmanager
def _full_disk(owner: Any, name: str, call: int) -> Iterator[None]:
    """The call of this number, counted from the disturbed round on, finds no space."""
    function, counting, calls = getattr(owner, name), threading.Lock(), [0]
    armed = threading.Event()

    def write(*args: Any, **options: Any) -> Any:
        with counting:
            calls[0] += armed.is_set()
            strikes = armed.is_set() and calls[0] == call
        if strikes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*args, **options)

    with patch.object(owner, name, write), _at_the_round(armed.set):
        yield


def full_at_sync(call: int) -> Block:
    """No space when a file is made durable: of the coordinator, or of a silo."""
    return lambda order: _full_disk(os, "fsync", call)


def full_at_table(call: int) -> Block:
    """No space when a Delta table is written."""

    def block(order: dict[str, Any]) -> AbstractContextManager[Any]:
        from tasks.lineage import store

        return _full_disk(store, "write_deltalake", call)

    return block


def clock_off(seconds: float) -> Block:
    """The clock of the machine goes wrong; what measures lengths of time does not."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = UTC) -> datetime:
            return datetime.now(tz) + timedelta(seconds=seconds)

    @contextmanager
    def block(order: dict[str, Any]) -> Iterator[None]:
        right = time.time
        with (
            patch.object(stopwatch, "datetime", Wrong),
            patch.object(time, "time", lambda: right() + seconds),
        ):
            yield

    return block


def ray_head_killed(order: dict[str, Any]) -> AbstractContextManager[Any]:
    """SIGKILL of all that makes up the cluster, but for the silos."""

    def strike() -> None:
        heads = {"raylet", "gcs_server"}
        for process in psutil.Process().children(recursive=True):
            if process.name() in heads:
                process.kill()

    return _at_the_round(strike)


def prefect_server_killed(order: dict[str, Any]) -> AbstractContextManager[Any]:
    """SIGKILL of the Prefect server, which is not started again."""
    return _at_the_round(lambda: os.kill(order["server"], signal.SIGKILL))


@dataclass(frozen=True)
class Sleeping:
    """Stands before every step: `VICTIM` sleeps in the training of the round.

    Attributes:
        seconds: how long.
        once: only the first time, in this run.
    """

    seconds: float
    once: bool = True

    def __call__(
        self, step: SiloStep[Any], workspace: SiloWorkspace, *args: Any
    ) -> Any:
        """Sleeps, or does the step."""
        if workspace.silo == VICTIM and step.__name__ == "train_round":
            slept = workspace.folder / "slept"
            round_number = args[1].round_number
            if not self.once or (round_number == ROUND and not slept.exists()):
                slept.touch()
                time.sleep(self.seconds)
        return step(workspace, *args)


def newest(output: Path, pattern: str) -> Path:
    """The file of this pattern that was written last."""
    return max(output.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


STATE_FILE, MODEL_FILE = "runs/*/round-*.safetensors", "models/*.safetensors"
LOG_ENTRY = "lineage/rounds/_delta_log/*.json"


def flip_a_bit(pattern: str) -> Callable[[Path], None]:
    """In the middle of the newest such file; the right bytes are kept beside it."""

    def strike(output: Path) -> None:
        file = newest(output, pattern)
        content = bytearray(file.read_bytes())
        (output / "kept").write_text(json.dumps([str(file), content.hex()]), "utf-8")
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    return strike


def cut_short(pattern: str) -> Callable[[Path], None]:
    """The newest such file loses its second half."""

    def strike(output: Path) -> None:
        file = newest(output, pattern)
        content = file.read_bytes()
        (output / "kept").write_text(json.dumps([str(file), content.hex()]), "utf-8")
        file.write_bytes(content[: len(content) // 2])

    return strike


def put_back(output: Path) -> None:
    """From the backup."""
    file, content = json.loads((output / "kept").read_text("utf-8"))
    Path(file).write_bytes(bytes.fromhex(content))


def repair(output: Path) -> None:
    """What `silorec doctor --repair` does to the folder."""
    from functools import partial

    from data_contracts.health import repair as repaired
    from tasks.lineage.health import folder_findings

    repaired(partial(folder_findings, output))


SYNCS, TABLES = range(1, 31), range(1, 9)
SHORT_DEADLINES = {
    "cohort": {
        "min_silos": 3, "shortest_deadline_seconds": 5.0, "deadline_seconds": 60.0
    }
}  # fmt: skip

FAULTS = {
    fault.name: fault
    for fault in (
        *(
            Fault(
                f"disk full at durable write {n} from round {ROUND} on",
                full_at_sync(n),
                smoke=n == 7,
            )
            for n in SYNCS
        ),
        *(
            Fault(
                f"disk full at table write {n} from round {ROUND} on", full_at_table(n)
            )
            for n in TABLES
        ),
        *(
            Fault(
                f"{what} of the {file} {how}",
                killed_after_the_round,
                strike(pattern),
                mended=put_back,
            )
            for file, pattern in (("state", STATE_FILE), ("model", MODEL_FILE))
            for what, how, strike in (
                ("one bit", "flipped", flip_a_bit),
                ("half", "lost", cut_short),
            )
        ),
        Fault(
            "an entry of a Delta log cut short",
            killed_after_the_round,
            cut_short(LOG_ENTRY),
            mended=repair,
            smoke=True,
        ),
        Fault("clock an hour fast when resumed", killed_after_the_round,
              resumed_during=clock_off(HOUR)),
        Fault("clock an hour slow when resumed", killed_after_the_round,
              resumed_during=clock_off(-HOUR)),
        Fault("clock an hour slow from the start", clock_off(-HOUR)),
        Fault("Ray's head killed", ray_head_killed, with_actors=True),
        Fault("Prefect's server killed", prefect_server_killed),
        Fault("a silo hangs", lambda order: meddling(Sleeping(HOUR)),
              with_actors=True, sections=SHORT_DEADLINES),
        Fault("a silo is ten times as slow as the others",
              lambda order: meddling(Sleeping(2.0, once=False)), with_actors=True),
    )
}  # fmt: skip
