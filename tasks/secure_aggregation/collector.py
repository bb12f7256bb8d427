"""What the coordinator does the same way in every mode: states, senders, confirmations.

Left out: what a mode sums and how it opens the sum, which is `server.py`, `adder.py`
and `split_sum.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, ClassVar

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    AggregationTerms,
    Confirmation,
    Phase,
    Roster,
    SurvivorList,
)
from data_contracts.workspace import SiloFailure
from tasks.secure_aggregation.identity import survivors_are_signed
from tasks.secure_aggregation.quorum import require_quorum
from tasks.secure_aggregation.transitions import PhaseClosed, next_state


class Collector(ABC):
    """One aggregation at the coordinator.

    `receive` takes a silo's message or refuses it; each `close_...` of a mode ends a
    phase and gives what is sent next. The result does not depend on the order of
    messages.

    Args:
        terms: what the silos are offered.

    Attributes:
        terms: the same.
        failures: silo -> why it was lost, at whatever phase.
    """

    MOVES: ClassVar[Mapping[Any, Mapping[type, Any]]]
    FAILED: ClassVar[StrEnum]
    MODE: ClassVar[str]

    def __init__(self, terms: AggregationTerms) -> None:
        terms.check()
        self.terms = terms
        self.failures: dict[str, SiloFailure] = {}
        self._state: StrEnum = next(iter(self.MOVES))
        self._roster = Roster(b"", 0, ())
        self._uploads: dict[str, str] = {}
        self._confirmed: dict[str, bytes] = {}

    @property
    def commitments(self) -> dict[str, str]:
        """Silo -> hex digest it is bound to its upload by, in order of seats."""
        return {s: self._uploads[s] for s in self.terms.members if s in self._uploads}

    def lose(self, failure: SiloFailure) -> None:
        """A silo gave no usable answer in this phase; the first reason is kept."""
        self.failures.setdefault(failure.silo, failure)

    def receive(self, sender: str, message: Any) -> None:
        """Take `message`, or refuse it and leave everything as it was.

        Raises:
            ProtocolError: wrong state, sender, context, size or content.
        """
        state = next_state(
            self.MOVES[self._state], message, sender=sender, state=self._state
        )
        self._require(
            message.silo == sender, sender, f"it names {message.silo} as sender"
        )
        message.check()
        self._take(message)
        self._state = state

    @abstractmethod
    def _take(self, message: Any) -> None:
        """Whatever a mode does with a message that is legal here."""

    @property
    @abstractmethod
    def _context(self) -> bytes:
        """Ctx of this aggregation, once the length is known."""

    def _take_confirmation(self, message: Confirmation) -> None:
        silo = message.silo
        self._require(silo in self._uploads, silo, "it is no survivor")
        self._require(silo not in self._confirmed, silo, "it has confirmed already")
        self._require_context(message)
        identity = next(k.identity for k in self._roster.keys if k.silo == silo)
        self._require(
            survivors_are_signed(identity, message.signature, self._survivors()),
            silo,
            "its signature is not on the list of survivors",
        )
        self._confirmed[silo] = message.signature

    def _survivors(self) -> SurvivorList:
        return SurvivorList(self._context, tuple(self.commitments.items()))

    def _signatures(self) -> tuple[tuple[str, bytes], ...]:
        """(silo, its signature on the list of survivors), in order of seats."""
        members = self.terms.members
        return tuple((s, self._confirmed[s]) for s in members if s in self._confirmed)

    def _require_quorum(
        self, present: Collection[str], phase: Phase, needed: int = 0
    ) -> None:
        require_quorum(
            present, needed or self.terms.quorum, phase, self.terms, self.failures
        )

    def _require_context(self, message: Any) -> None:
        self._require(
            message.context == self._context,
            message.silo,
            "it belongs to another aggregation",
        )

    def _require(self, condition: bool, sender: str, complaint: str) -> None:
        if not condition:
            raise ProtocolError(
                f"{self.MODE} refused a message from silo {sender}: {complaint}"
            )

    def _close(self, collecting: StrEnum) -> StrEnum:
        """The state after this one; until the caller enters it, all has failed."""
        if self._state is not collecting:
            raise ProtocolError(
                f"the coordinator cannot end {collecting} in state {self._state}"
            )
        self._state = self.FAILED
        after: StrEnum = self.MOVES[collecting][PhaseClosed]
        return after
