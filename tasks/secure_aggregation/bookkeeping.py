"""Calling the silos phase by phase, and what it cost: bytes, seconds, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import AggregationTerms, Phase
from data_contracts.secure_sum import PhaseAccount, SecureSum, SumMode
from data_contracts.workspace import Cohort, SiloFailure, SiloStep

Clock = Callable[[], float]


class Receiver(Protocol):
    """Whoever takes the silos' messages."""

    @property
    def terms(self) -> AggregationTerms:
        """Of the sum."""

    @property
    def failures(self) -> dict[str, SiloFailure]:
        """Silo -> why it was lost."""

    @property
    def commitments(self) -> dict[str, str]:
        """Contributor -> hex digest it is bound to its upload by."""

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
    phases: list[PhaseAccount] = field(default_factory=list)
    _asked: int = 0
    _answered: int = 0

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Whatever happens inside belongs to this phase."""
        began, sent_before = self.clock(), sum(self.bytes_up.values())
        self._asked = self._answered = 0
        yield
        self.phases.append(
            PhaseAccount(
                phase=phase.value,
                asked=self._asked,
                answered=self._answered,
                bytes_up=sum(self.bytes_up.values()) - sent_before,
                seconds=self.clock() - began,
            )
        )

    def ask(
        self,
        step: SiloStep[Any],
        messages: Mapping[str, tuple[object, ...]],
        *,
        meanwhile: bool = False,
    ) -> None:
        """Send each silo its message and pass every answer, or failure, on.

        Args:
            step: what the silos do.
            messages: silo -> arguments; silos that are missing are not asked.
            meanwhile: whether silos answer beside a step that they are busy with.
        """
        self._asked += len(messages)
        self.bytes_down += sum(map(payload_bytes, messages.values()))
        replies = self.cohort.only(messages).call(
            step,
            per_silo=messages,
            deadline_seconds=self.deadline_seconds,
            on_reply=self._take,
            meanwhile=meanwhile,
            work=self.receiver.terms.purpose,
        )
        for failure in replies.failures.values():
            self.receiver.lose(failure)

    def ask_beside(self, helper: str, step: SiloStep[Any], *message: object) -> None:
        """The same for somebody who stands beside the silos."""
        self._asked += 1
        self.bytes_down += payload_bytes(message)
        replies = self.cohort.beside(helper).call(
            step,
            *message,
            deadline_seconds=self.deadline_seconds,
            on_reply=self._take,
            work=self.receiver.terms.purpose,
        )
        for failure in replies.failures.values():
            self.receiver.lose(failure)

    def _take(self, silo: str, message: Any) -> None:
        sent = self.bytes_up.get(silo, 0) + payload_bytes(message)
        self.bytes_up[silo] = sent
        try:
            self.receiver.receive(silo, message)
            self._answered += 1
        except ProtocolError as error:
            self.receiver.lose(SiloFailure(silo, error.reason, error.message))

    def close(
        self,
        total: NDArray[np.signedinteger],
        mode: SumMode,
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
            phases=tuple(self.phases),
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
