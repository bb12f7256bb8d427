"""The coordinator's side of the homomorphic mode: messages in, messages out.

Implements HOMOMORPHIC.md, section 2. The coordinator relays and adds ciphertexts; it
never holds a key, and keeps one running sum and no upload.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ConfigError, FailureReason, ProtocolError
from data_contracts.homomorphic_aggregation import (
    EncryptedInput,
    KeyDelivery,
    OpenedSum,
    SealedKey,
    SumToOpen,
    SumWords,
)
from data_contracts.secure_aggregation import (
    AggregationTerms,
    Confirmation,
    ConfirmedList,
    KeyAdvertisement,
    Phase,
    Roster,
    SurvivorList,
)
from data_contracts.workspace import SiloFailure
from tasks.secure_aggregation.ciphertexts import RunningSum
from tasks.secure_aggregation.collector import Collector
from tasks.secure_aggregation.encrypted_vectors import (
    inputs_sha256,
    num_ciphertexts,
    total_sha256,
)
from tasks.secure_aggregation.homomorphic_transitions import ADDER, AdderState
from tasks.secure_aggregation.key_boxes import homomorphic_context
from tasks.secure_aggregation.server import Server

HomomorphicMessage = (
    KeyAdvertisement | SealedKey | EncryptedInput | Confirmation | OpenedSum | SumWords
)


class Adder(Collector):
    """One homomorphic aggregation at the coordinator.

    Args:
        terms: what is offered to the silos.
        max_parameters: longest vector it accepts.
    """

    MOVES = ADDER
    FAILED = AdderState.FAILED
    MODE = "homomorphic aggregation"

    def __init__(self, terms: AggregationTerms, max_parameters: int) -> None:
        super().__init__(terms)
        # Phase 0 is that of masking, key for key.
        self._advertising = Server(terms)
        self.failures = self._advertising.failures
        self._max_parameters = max_parameters
        self._sealed: SealedKey | None = None
        self._sum = RunningSum(0)
        self._opened: dict[str, str] = {}
        self._total: NDArray[np.int64] | None = None

    @property
    def _context(self) -> bytes:
        return self._sealed.context if self._sealed else b""

    @property
    def has_key(self) -> bool:
        """Whether a dealer has dealt."""
        return self._sealed is not None

    @property
    def has_sum(self) -> bool:
        """Whether the integers are here."""
        return self._total is not None

    def close_advertising(self) -> Roster:
        """End of phase 0: the silos with keys and the most common length.

        Raises:
            ConfigError: the vector is longer than this mode accepts.
            QuorumLostError: fewer than the quorum are left.
        """
        after = self._close(AdderState.COLLECTING_KEYS)
        self._roster = self._advertising.close_advertising()
        require_size(self.terms.purpose, self._roster.length, self._max_parameters)
        self._state = after
        return self._roster

    def close_dealing(self) -> dict[str, KeyDelivery]:
        """End of phase 1: for each silo that still answers, its box.

        Raises:
            QuorumLostError: no silo dealt a key, or fewer than the quorum are left.
        """
        after = self._close(AdderState.COLLECTING_BOXES)
        sealed = self._sealed
        boxes = sealed.boxes if sealed else ()
        left = [box for box in boxes if box.recipient not in self.failures]
        self._require_quorum(
            [box.recipient for box in left], Phase.DEAL_KEY, self.terms.quorum
        )
        assert sealed is not None
        self._sum = RunningSum(num_ciphertexts(self._roster.length))
        self._state = after
        return {
            box.recipient: KeyDelivery(self._roster, sealed.silo, box) for box in left
        }

    def close_uploads(self) -> SurvivorList:
        """End of phase 2: the silos whose upload is in the running sum.

        Raises:
            QuorumLostError: fewer than the quorum are left.
        """
        after = self._close(AdderState.COLLECTING_INPUTS)
        self._require_quorum(self._uploads, Phase.ENCRYPTED_INPUT, self.terms.quorum)
        self._state = after
        return self._survivors()

    def close_confirmations(self) -> SumToOpen:
        """End of phase 3: the encrypted sum and who signed what is in it.

        Raises:
            QuorumLostError: fewer than t silos signed it.
        """
        after = self._close(AdderState.COLLECTING_CONFIRMATIONS)
        self._require_quorum(self._confirmed, Phase.CONFIRM, self.terms.threshold)
        self._state = after
        confirmed = ConfirmedList(self._context, self._signatures())
        return SumToOpen(confirmed, self._sum.ciphertexts())

    def close_opening(self) -> tuple[str, ...]:
        """End of phase 4: the silos that opened what most opened, in order of seats.

        Raises:
            QuorumLostError: no silo opened the sum.
            ProtocolError: no more than half of those that did agree on what it is.
        """
        after = self._close(AdderState.COLLECTING_OPENED)
        self._require_quorum(self._opened, Phase.OPEN_SUM, 1)
        ((agreed, count),) = Counter(self._opened.values()).most_common(1)
        if 2 * count <= len(self._opened):
            raise ProtocolError(
                f"the silos opened different sums of {self.terms.purpose} in round "
                f"{self.terms.round_number}, and none of them more than half of the "
                f"time: {', '.join(self._opened)}; start the round again without the "
                "silo that changed its software"
            )
        self.failures |= {
            silo: _dissenter(silo) for silo, it in self._opened.items() if it != agreed
        }
        self._opened = {s: it for s, it in self._opened.items() if it == agreed}
        self._state = after
        return tuple(s for s in self.terms.members if s in self._opened)

    def total(self) -> NDArray[np.int64]:
        """End of phase 5: the signed sum [d] of the inputs.

        Raises:
            QuorumLostError: every silo that had opened it is lost.
        """
        after = self._close(AdderState.COLLECTING_SUM)
        readers = self._opened if self._total is not None else ()
        self._require_quorum(readers, Phase.READ_SUM, 1)
        assert self._total is not None
        self._state = after
        return self._total

    def _take(self, message: HomomorphicMessage) -> None:
        match message:
            case KeyAdvertisement():
                self._advertising.receive(message.silo, message)
            case SealedKey():
                self._take_key(message)
            case EncryptedInput():
                self._take_input(message)
            case Confirmation():
                self._take_confirmation(message)
            case OpenedSum():
                self._take_opened(message)
            case SumWords():
                self._take_sum(message)

    def _take_key(self, message: SealedKey) -> None:
        silo = message.silo
        self._require(silo in self._roster.silos, silo, "it is not in the roster")
        self._require(self._sealed is None, silo, "another silo has dealt already")
        self._require(
            message.context == homomorphic_context(self._roster, silo),
            silo,
            "it belongs to another aggregation",
        )
        recipients = tuple(box.recipient for box in message.boxes)
        self._require(
            recipients == self._roster.silos, silo, "its boxes do not match the roster"
        )
        self._sealed = message

    def _take_input(self, message: EncryptedInput) -> None:
        silo = message.silo
        self._require(silo in self._roster.silos, silo, "it is not in the roster")
        self._require(silo not in self._uploads, silo, "its input is here already")
        self._require_context(message)
        self._require(
            inputs_sha256(message.ciphertexts) == message.sha256,
            silo,
            "the ciphertexts changed on their way",
        )
        self._sum.add(message.ciphertexts)
        self._uploads[silo] = message.sha256

    def _take_opened(self, message: OpenedSum) -> None:
        silo = message.silo
        self._require(silo in self._confirmed, silo, "it confirmed no survivors")
        self._require(silo not in self._opened, silo, "its answer is here already")
        self._require_context(message)
        self._opened[silo] = message.sha256

    def _take_sum(self, message: SumWords) -> None:
        silo = message.silo
        self._require(silo in self._opened, silo, "it did not open the sum")
        self._require_context(message)
        same = total_sha256(message.total) == self._opened[silo]
        self._require(same, silo, "it sent another sum than the silos opened")
        self._total = message.total


def require_size(purpose: str, length: int, max_parameters: int) -> None:
    """Refuse what would take this mode too long.

    Raises:
        ConfigError: how long it is, how long it may be, and what to do.
    """
    if length > max_parameters:
        raise ConfigError(
            f"the sum of {purpose} has {length:,} numbers and mode homomorphic accepts "
            f"{max_parameters:,}: it is for metrics and small models; set "
            "secure_aggregation.mode to masked, which is much faster, or raise "
            "secure_aggregation.homomorphic_max_parameters"
        )


def _dissenter(silo: str) -> SiloFailure:
    return SiloFailure(
        silo,
        FailureReason.DROPPED_OUT,
        f"silo {silo} opened another sum than most silos",
    )
