"""Calling the silos phase by phase, and what it cost: bytes, seconds, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import Phase, SecureSum
from data_contracts.workspace import Cohort, SiloFailure, SiloStep

Clock = Callable[[], float]


class Receiver(Protocol):
    """Whoever takes the silos' messages."""

    @property
    def failures(self) -> dict[str, SiloFailure]:
        """Silo -> why it was lost."""

    @property
    def commitments(self) -> dict[str, str]:
        """Contributor -> sha256 hex of its upload."""

    def receive(self, sender: str, message: Any) -> None:
        """Take or refuse one message, of the kinds that its mode knows."""

    def lose(self, failure: SiloFailure) -> None:
        """Note that a silo gave no usable answer."""


@dataclass
class Books:
    """The accounts of one aggregation.

    Attributes:
        cohort: the silos.
        receiver: takes their messages.
        deadline_seconds: longest wait in any one phase.
        clock: seconds, monotonic.
    """

    cohort: Cohort
    receiver: Receiver
    deadline_seconds: float | None
    clock: Clock
    bytes_up: dict[str, int] = field(default_factory=dict)
    bytes_down: int = 0
    phase_seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Whatever happens inside belongs to this phase."""
        began = self.clock()
        yield
        self.phase_seconds[phase.value] = self.clock() - began

    def ask(
        self, step: SiloStep[Any], messages: Mapping[str, tuple[object, ...]]
    ) -> None:
        """Send each silo its message and pass every answer, or failure, on.

        Args:
            step: what the silos do.
            messages: silo -> arguments; silos that are missing are not asked.
        """
        self.bytes_down += sum(map(payload_bytes, messages.values()))
        replies = self.cohort.only(messages).call(
            step,
            per_silo=messages,
            deadline_seconds=self.deadline_seconds,
            on_reply=self._take,
        )
        for failure in replies.failures.values():
            self.receiver.lose(failure)

    def _take(self, silo: str, message: Any) -> None:
        sent = self.bytes_up.get(silo, 0) + payload_bytes(message)
        self.bytes_up[silo] = sent
        try:
            self.receiver.receive(silo, message)
        except ProtocolError as error:
            self.receiver.lose(SiloFailure(silo, error.reason, error.message))

    def close(
        self,
        total: NDArray[np.int64],
        mode: Literal["masked", "homomorphic", "plain"],
    ) -> SecureSum:
        """The result, with everything that was written down."""
        commitments, failures = self.receiver.commitments, self.receiver.failures
        return SecureSum(
            total=total,
            contributors=tuple(commitments),
            dropped={s: f for s, f in failures.items() if s not in commitments},
            faults={s: f for s, f in failures.items() if s in commitments},
            mode=mode,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            commitments=commitments,
            phase_seconds=self.phase_seconds,
        )


def payload_bytes(value: object) -> int:
    """Bytes a message carries, without the framing of whatever transports it."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, tuple):
        return sum(map(payload_bytes, value))
    if is_dataclass(value):
        return sum(payload_bytes(getattr(value, f.name)) for f in fields(value))
    return 8
