"""A silo as every stage sees it: its workspace inside, its cohort outside.

A *step* is a plain function `step(workspace, *args)` that runs inside one silo.
The coordinator only ever holds a `Cohort`: it names a step and gets replies that
the step chose to return. Where the silo lives (this process, a Ray actor, another
organisation) is the business of whoever implements `Cohort`; no stage knows.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import FailureReason, SiloError
from data_contracts.settings.cohort import SiloConfig

T = TypeVar("T")
SiloStep = Callable[..., T]


@dataclass
class Progress:
    """How far the running step is; read by the coordinator while it waits."""

    fraction: float = 0.0
    note: str = ""


@dataclass
class SiloWorkspace:
    """What one silo keeps between the steps of a run; never leaves its process.

    Attributes:
        config: who this silo is and where its tables lie.
        run_id: the run this workspace serves.
        folder: the silo's own durable folder (accepted snapshots, caches).
        progress: written by long steps.
    """

    config: SiloConfig
    run_id: str
    folder: Path
    progress: Progress = field(default_factory=Progress)
    _shelf: dict[type, object] = field(default_factory=dict, repr=False)

    @property
    def silo(self) -> str:
        """The silo's name."""
        return self.config.name

    def secret(self, name: str = "silo") -> bytes:
        """32 random bytes that this silo alone knows, the same in every run.

        Args:
            name: `silo` keys what the silo says about its data, so that whoever
                guesses the data cannot check the guess; `identity` signs.
        """
        path = self.folder / f"{name}.secret"
        if not path.exists():
            # Whole or not at all: cut short by a full disk, it could be guessed.
            draft = path.with_name(f"{path.name}.{os.getpid()}.part")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        return path.read_bytes()

    def put(self, value: object) -> None:
        """Shelve `value` under its type, replacing an earlier one."""
        self._shelf[type(value)] = value

    def get(self, kind: type[T]) -> T:
        """The shelved value of this type.

        Raises:
            SiloError: no earlier step of this run has put one there.
        """
        if kind not in self._shelf:
            raise SiloError(
                f"silo {self.silo} holds no {kind.__name__} yet: an earlier step of "
                "the run did not complete here, so start the run again"
            )
        return cast(T, self._shelf[kind])

    def has(self, kind: type) -> bool:
        """Whether a value of this type is shelved."""
        return kind in self._shelf

    def take(self, kind: type[T]) -> T:
        """Like `get`, and forget it: used once, gone."""
        value = self.get(kind)
        del self._shelf[kind]
        return value


@dataclass(frozen=True)
class InputKind:
    """What the inputs of one secure sum must have in common.

    Attributes:
        ring_bits: width of a word, 32, 16 or 8; sums are exact modulo 2^ring_bits.
        encoding_hash: of how numbers became words; empty for counts.
        model_hash: of the global model they were computed from; empty if from none.
    """

    ring_bits: int = 32
    encoding_hash: str = ""
    model_hash: str = ""


COUNTS = InputKind()


@dataclass(frozen=True)
class Contribution:
    """A silo's input to a secure sum, already encoded in the ring.

    Attributes:
        words: uint of `kind.ring_bits` [d]; two's complement of signed integers.
        kind: what it is; a silo takes part only in sums of exactly this kind.
        fewest_silos: it goes into no sum that may be opened with fewer silos, and with
            more than 1 never out in the clear: the noise in it is a share.
    """

    words: NDArray[np.unsignedinteger]
    kind: InputKind = COUNTS
    fewest_silos: int = 1


@dataclass(frozen=True)
class SiloFailure:
    """Why a silo's step gave no reply; holds no data value."""

    silo: str
    reason: FailureReason
    sentence: str


@dataclass(frozen=True)
class SiloReplies(Generic[T]):
    """Replies of one step, in cohort order whatever order they arrived in."""

    values: Mapping[str, T]
    failures: Mapping[str, SiloFailure] = field(default_factory=dict)


class Cohort(Protocol):
    """The silos of a run, as the coordinator can reach them."""

    @property
    def run_id(self) -> str:
        """The run these silos serve."""

    @property
    def silos(self) -> tuple[str, ...]:
        """Names of the members, in a fixed order."""

    @property
    def restarts(self) -> int:
        """How often a silo's process was started again, of all silos of the run."""

    def call(
        self,
        step: SiloStep[T],
        *args: Any,
        per_silo: Mapping[str, tuple[Any, ...]] | None = None,
        deadline_seconds: float | None = None,
        on_reply: Callable[[str, T], None] | None = None,
        meanwhile: bool = False,
        lasting: bool = False,
        retry: bool = False,
        work: str = "",
    ) -> SiloReplies[T]:
        """Run `step(workspace, *args, *per_silo[silo])` at every member at once.

        Args:
            step: an importable function whose first argument is the workspace.
            args: the same for every silo; large arrays go through `broadcast`.
            per_silo: further arguments of single silos; members that are missing
                from the mapping are not called.
            deadline_seconds: silos that take longer are failed as `TIMED_OUT`.
            on_reply: given (silo, value) in the order of arrival, while others still
                work; must not raise. With it, no value is kept for the result.
            meanwhile: do not wait for a step that the silo is busy with; for short
                steps that touch nothing which that one needs.
            lasting: what the step leaves in the workspace is needed for the rest of the
                run, so it is done again where a silo's process is started again.
            retry: it may be done twice, so it is tried again where a process died or
                was short of something that may pass.
            work: what else than the silo and the step its time depends on.
        """

    def bring_back(self) -> Mapping[str, SiloFailure]:
        """Start silos again whose process died or hangs; silo -> why it was away.

        Tells of everybody who came back since it was asked last.
        """

    def broadcast(self, value: T) -> T:
        """Place a large value once where every silo can read it (read-only).

        The result stands for the value in the arguments of `call`.
        """

    def only(self, silos: Iterable[str]) -> Cohort:
        """The same cohort narrowed to some members."""

    def beside(self, helper: str) -> Cohort:
        """Somebody who was opened with the silos and is no member, by name.

        Raises:
            ConfigError: nobody of that name was opened.
        """
