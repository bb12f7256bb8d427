"""The coordinator's side of secure aggregation: messages in, messages out.

Implements PROTOCOL.md, section 3. The coordinator relays and adds; it keeps one
running sum and no upload.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
from models.fixed_point import signed
from tasks.secure_aggregation.collector import Collector
from tasks.secure_aggregation.context import context_hash, dealt_hash, words_sha256
from tasks.secure_aggregation.graph import Graph
from tasks.secure_aggregation.identity import keys_are_signed
from tasks.secure_aggregation.quorum import (
    most_common_length,
    odd_lengths,
    unsigned,
)
from tasks.secure_aggregation.running_sum import Room, RunningSum
from tasks.secure_aggregation.transitions import (
    SERVER,
    ServerState,
)
from tasks.secure_aggregation.unmasking import check_reveal, masks_to_remove


class Server(Collector):
    """One masked aggregation.

    Args:
        terms: what the silos are offered.
        room: gives the one vector that the coordinator keeps.
        threads: how many take masks off at a time.
    """

    MOVES = SERVER
    FAILED = ServerState.FAILED
    MODE = "secure aggregation"

    def __init__(
        self, terms: AggregationTerms, *, room: Room = np.empty, threads: int = 1
    ) -> None:
        super().__init__(terms)
        self._threads = threads
        self._keys: dict[str, KeyAdvertisement] = {}
        self._circles: dict[str, tuple[str, ...]] = {}
        self._dealt: dict[str, SealedShares] = {}
        self._dealers: tuple[tuple[str, bytes], ...] = ()
        self._boxes: dict[str, list[SealedBox]] = {}
        self._revealed: dict[str, RevealedShares] = {}
        self._sum = RunningSum(room)

    @property
    def _context(self) -> bytes:
        return self._roster.context

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
                self._context, self._dealers, tuple(self._boxes[dealt.silo])
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
        return ConfirmedList(self._context, self._signatures())

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
        total = self._sum.take(masks, threads=self._threads)
        self._state = after
        return signed(total)

    def _take(self, message: SiloMessage) -> None:
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

    def _take_keys(self, message: KeyAdvertisement) -> None:
        silo = message.silo
        self._require(silo in self.terms.members, silo, "it is no member")
        self._require(silo not in self._keys, silo, "its keys are here already")
        taken = {k for ad in self._keys.values() for k in (ad.channel_key, ad.mask_key)}
        own = {message.channel_key, message.mask_key}
        self._require(
            len(own) == 2 and not own & taken, silo, "its keys are not its own"
        )
        self._keys[silo] = message

    def _take_shares(self, message: SealedShares) -> None:
        silo = message.silo
        self._require(silo in self._roster.silos, silo, "it is not in the roster")
        self._require(silo not in self._dealt, silo, "its shares are here already")
        self._require_context(message)
        parties = tuple((box.dealer, box.recipient) for box in message.boxes)
        self._require(
            parties == tuple((silo, other) for other in self._circles[silo]),
            silo,
            "its boxes do not match the roster",
        )
        self._dealt[silo] = message

    def _take_input(self, message: MaskedInput) -> None:
        silo = message.silo
        self._require(silo in self._dealt, silo, "it has dealt no shares")
        self._require(silo not in self._uploads, silo, "its input is here already")
        self._require_context(message)
        ring, length = self.terms.kind.ring_bits, self._roster.length
        self._require(
            message.words.itemsize * 8 == ring and message.words.size == length,
            silo,
            f"it holds {message.words.size} words of {message.words.itemsize * 8} bits "
            f"instead of {length} of {ring}",
        )
        self._require(
            words_sha256(message.words) == message.sha256,
            silo,
            "the words changed on their way",
        )
        self._sum.add(message.words)
        self._uploads[silo] = message.sha256

    def _take_reveal(self, message: RevealedShares) -> None:
        silo = message.silo
        self._require(silo in self._confirmed, silo, "it confirmed no survivors")
        self._require(silo not in self._revealed, silo, "its shares are here already")
        self._require_context(message)
        check_reveal(message, self._boxes[silo], self._uploads)
        self._revealed[silo] = message
