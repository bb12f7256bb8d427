"""The coordinator's side of secure aggregation: messages in, messages out.

Implements PROTOCOL.md, section 3. The coordinator relays and adds; it keeps one
running sum and no upload.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    AggregationTerms,
    Confirmation,
    ConfirmedList,
    KeyAdvertisement,
    MaskedInput,
    Phase,
    RevealedShares,
    Roster,
    SealedBox,
    SealedShares,
    ShareDelivery,
    SiloMessage,
    SurvivorList,
)
from data_contracts.workspace import SiloFailure
from models.fixed_point import signed
from tasks.secure_aggregation.context import context_hash, dealt_hash, words_sha256
from tasks.secure_aggregation.graph import Graph
from tasks.secure_aggregation.identity import keys_are_signed, survivors_are_signed
from tasks.secure_aggregation.masking import apply_masks
from tasks.secure_aggregation.quorum import (
    most_common_length,
    odd_lengths,
    require_quorum,
    unsigned,
)
from tasks.secure_aggregation.running_sum import Room, RunningSum
from tasks.secure_aggregation.transitions import (
    SERVER,
    PhaseClosed,
    ServerState,
    next_state,
)
from tasks.secure_aggregation.unmasking import check_reveal, masks_to_remove


class Server:
    """One aggregation at the coordinator.

    Args:
        terms: what the silos are offered.
        room: gives the one vector that the coordinator keeps.
        threads: how many take masks off at a time.

    `receive` takes a silo's message or refuses it; each `close_...` ends a phase and
    gives what is sent next. The result does not depend on the order of messages.

    Attributes:
        terms: what was offered to the silos.
        failures: silo -> why it was lost, at whatever phase.
    """

    def __init__(
        self, terms: AggregationTerms, *, room: Room = np.empty, threads: int = 1
    ) -> None:
        terms.check()
        self.terms = terms
        self._threads = threads
        self.failures: dict[str, SiloFailure] = {}
        self._state = ServerState.COLLECTING_KEYS
        self._keys: dict[str, KeyAdvertisement] = {}
        self._circles: dict[str, tuple[str, ...]] = {}
        self._dealt: dict[str, SealedShares] = {}
        self._boxes: dict[str, list[SealedBox]] = {}
        self._uploads: dict[str, str] = {}
        self._confirmed: dict[str, bytes] = {}
        self._revealed: dict[str, RevealedShares] = {}
        self._roster = Roster(b"", 0, ())
        self._dealers: tuple[tuple[str, bytes], ...] = ()
        self._sum = RunningSum(room)

    @property
    def commitments(self) -> dict[str, str]:
        """Silo -> sha256 hex of its upload, for all of U3, in order of seats."""
        return {s: self._uploads[s] for s in self.terms.members if s in self._uploads}

    def lose(self, failure: SiloFailure) -> None:
        """A silo gave no usable answer in this phase; the first reason is kept."""
        self.failures.setdefault(failure.silo, failure)

    def receive(self, sender: str, message: SiloMessage) -> None:
        """Take `message`, or refuse it and leave everything as it was.

        Raises:
            ProtocolError: wrong state, sender, context, size or content.
        """
        state = next_state(
            SERVER[self._state], message, sender=sender, state=self._state
        )
        _require(message.silo == sender, sender, f"it names {message.silo} as sender")
        message.check()
        match message:
            case KeyAdvertisement():
                self._take_keys(message)
            case SealedShares():
                self._take_shares(message)
            case MaskedInput():
                self._take_input(message)
            case Confirmation():
                self._take_confirmation(message)
            case RevealedShares():
                self._take_reveal(message)
        self._state = state

    def close_advertising(self) -> Roster:
        """End of phase 0: U1, the silos with keys and the most common length.

        Raises:
            QuorumLostError: fewer than the quorum are left.
        """
        after = self._close(ServerState.COLLECTING_KEYS)
        in_order = [self._keys[s] for s in self.terms.members if s in self._keys]
        lengths = {key.silo: key.length for key in in_order}
        length = most_common_length(lengths)
        self.failures |= odd_lengths(lengths, length)
        context = context_hash(self.terms, length)
        same = [key for key in in_order if key.length == length]
        keys = tuple(key for key in same if keys_are_signed(context, key))
        self.failures |= unsigned(key.silo for key in same if key not in keys)
        self._roster = Roster(context, length, keys)
        self._require_quorum(self._roster.silos, Phase.ADVERTISE_KEYS)
        graph = Graph(self._roster, self.terms.neighbours)
        self._circles = {silo: graph.circle(silo) for silo in self._roster.silos}
        self._state = after
        return self._roster

    def close_sharing(self) -> dict[str, ShareDelivery]:
        """End of phase 1: for each silo of U2, the list of U2 and its own boxes.

        Raises:
            QuorumLostError: fewer than the quorum are left.
        """
        after = self._close(ServerState.COLLECTING_SHARES)
        in_order = [self._dealt[s] for s in self._roster.silos if s in self._dealt]
        self._require_quorum(self._dealt, Phase.SHARE_KEYS)
        self._dealers = tuple((d.silo, dealt_hash(d)) for d in in_order)
        self._state = after
        self._boxes = {silo: [] for silo in self._dealt}
        for box in (box for dealt in in_order for box in dealt.boxes):
            if box.recipient in self._boxes:
                self._boxes[box.recipient].append(box)
        return {
            dealt.silo: ShareDelivery(
                self._roster.context, self._dealers, tuple(self._boxes[dealt.silo])
            )
            for dealt in in_order
        }

    def close_uploads(self) -> SurvivorList:
        """End of phase 2: U3, the silos whose upload is in the running sum.

        Raises:
            QuorumLostError: fewer than the quorum are left.
        """
        after = self._close(ServerState.COLLECTING_INPUTS)
        self._require_quorum(self._uploads, Phase.MASKED_INPUT)
        self._state = after
        return self._survivors()

    def close_confirmations(self) -> ConfirmedList:
        """End of phase 3: who signed U3, for those who did.

        Raises:
            QuorumLostError: fewer than t silos signed it.
        """
        after = self._close(ServerState.COLLECTING_CONFIRMATIONS)
        self._require_quorum(self._confirmed, Phase.CONFIRM, self.terms.threshold)
        self._state = after
        signed = (
            (s, self._confirmed[s]) for s in self._uploads if s in self._confirmed
        )
        in_order = sorted(signed, key=lambda pair: self.terms.seat(pair[0]))
        return ConfirmedList(self._roster.context, tuple(in_order))

    def unmask(self) -> NDArray[np.signedinteger]:
        """End of phase 4: the signed sum [d] of the inputs of U3.

        Raises:
            QuorumLostError: fewer than t silos revealed usable shares.
            ProtocolError: a dealer's shares do not fit its own commitments.
        """
        after = self._close(ServerState.COLLECTING_REVEALS)
        self._require_quorum(self._revealed, Phase.UNMASKING, self.terms.threshold)
        masks = masks_to_remove(
            self.terms, self._roster, self._dealers, self._dealt,
            self._uploads, self._revealed,
        )  # fmt: skip
        total = self._sum.take()
        apply_masks(total, masks, threads=self._threads)
        self._state = after
        return signed(total)

    def _take_keys(self, message: KeyAdvertisement) -> None:
        silo = message.silo
        _require(silo in self.terms.members, silo, "it is no member")
        _require(silo not in self._keys, silo, "its keys are here already")
        taken = {k for ad in self._keys.values() for k in (ad.channel_key, ad.mask_key)}
        own = {message.channel_key, message.mask_key}
        _require(len(own) == 2 and not own & taken, silo, "its keys are not its own")
        self._keys[silo] = message

    def _take_shares(self, message: SealedShares) -> None:
        silo = message.silo
        _require(silo in self._roster.silos, silo, "it is not in the roster")
        _require(silo not in self._dealt, silo, "its shares are here already")
        self._require_context(message)
        parties = tuple((box.dealer, box.recipient) for box in message.boxes)
        _require(
            parties == tuple((silo, other) for other in self._circles[silo]),
            silo,
            "its boxes do not match the roster",
        )
        self._dealt[silo] = message

    def _take_input(self, message: MaskedInput) -> None:
        silo = message.silo
        _require(silo in self._dealt, silo, "it has dealt no shares")
        _require(silo not in self._uploads, silo, "its input is here already")
        self._require_context(message)
        ring, length = self.terms.kind.ring_bits, self._roster.length
        _require(
            message.words.itemsize * 8 == ring and message.words.size == length,
            silo,
            f"it holds {message.words.size} words of {message.words.itemsize * 8} bits "
            f"instead of {length} of {ring}",
        )
        _require(
            words_sha256(message.words) == message.sha256,
            silo,
            "the words changed on their way",
        )
        self._sum.add(message.words)
        self._uploads[silo] = message.sha256

    def _take_confirmation(self, message: Confirmation) -> None:
        silo = message.silo
        _require(silo in self._uploads, silo, "it is no survivor")
        _require(silo not in self._confirmed, silo, "it has confirmed already")
        self._require_context(message)
        identity = next(k.identity for k in self._roster.keys if k.silo == silo)
        _require(
            survivors_are_signed(identity, message.signature, self._survivors()),
            silo,
            "its signature is not on the list of survivors",
        )
        self._confirmed[silo] = message.signature

    def _take_reveal(self, message: RevealedShares) -> None:
        silo = message.silo
        _require(silo in self._confirmed, silo, "it confirmed no survivors")
        _require(silo not in self._revealed, silo, "its shares are here already")
        self._require_context(message)
        check_reveal(message, self._boxes[silo], self._uploads)
        self._revealed[silo] = message

    def _survivors(self) -> SurvivorList:
        return SurvivorList(self._roster.context, tuple(self.commitments.items()))

    def _require_context(
        self, message: SealedShares | MaskedInput | Confirmation | RevealedShares
    ) -> None:
        _require(
            message.context == self._roster.context,
            message.silo,
            "it belongs to another aggregation",
        )

    def _require_quorum(
        self,
        present: Collection[str],
        phase: Phase,
        needed: int = 0,
    ) -> None:
        require_quorum(
            present, needed or self.terms.quorum, phase, self.terms, self.failures
        )

    def _close(self, collecting: ServerState) -> ServerState:
        """The state after this one; until the caller enters it, all has failed."""
        if self._state is not collecting:
            raise ProtocolError(
                f"the coordinator cannot end {collecting} in state {self._state}"
            )
        after = SERVER[collecting][PhaseClosed]
        self._state = ServerState.FAILED
        return after


def _require(condition: bool, sender: str, complaint: str) -> None:
    if not condition:
        raise ProtocolError(
            f"secure aggregation refused a message from silo {sender}: {complaint}"
        )
