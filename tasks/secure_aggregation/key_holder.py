"""One silo's side of the homomorphic mode: message in, message out, nothing else.

Implements HOMOMORPHIC.md, section 2, for an honest silo. Left out: what a silo keeps on
its disk, which is `silo_records.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from data_contracts.homomorphic_aggregation import (
    EncryptedInput,
    KeyDelivery,
    OpenedSum,
    ReadRequest,
    SealedKey,
    SumToOpen,
    SumWords,
)
from data_contracts.secure_aggregation import (
    KEY_BYTES,
    AggregationTerms,
    Confirmation,
    KeyAdvertisement,
    Roster,
    SurvivorList,
)
from tasks.secure_aggregation.ciphertexts import SecretKey, new_secret_key
from tasks.secure_aggregation.context import context_hash
from tasks.secure_aggregation.encrypted_vectors import (
    decrypted,
    encrypted,
    inputs_sha256,
    num_ciphertexts,
    total_sha256,
)
from tasks.secure_aggregation.homomorphic_transitions import (
    HOLDER,
    HolderState,
    InputEncrypted,
    SumIsOpen,
    SurvivorsConfirmed,
)
from tasks.secure_aggregation.identity import (
    Identity,
    keys_are_signed,
    survivors_are_signed,
)
from tasks.secure_aggregation.key_boxes import (
    SharedKey,
    homomorphic_context,
    open_key,
    seal_key,
)
from tasks.secure_aggregation.keys import KeyPair, RandomBytes
from tasks.secure_aggregation.sum_tags import SumTags
from tasks.secure_aggregation.transitions import (
    Aborted,
    Finished,
    Idle,
    KeysAdvertised,
    next_state,
)

State = TypeVar(
    "State", Idle, KeysAdvertised, InputEncrypted, SurvivorsConfirmed, SumIsOpen
)


class KeyHolder:
    """One silo in one attempt; each method answers one message.

    A message that is illegal in the present state is refused and changes nothing. A
    legal one that fails a check aborts the attempt: all secrets are forgotten.

    Args:
        silo: its name.
        random_bytes: source of every secret but the scheme's own.
        identity: signs for it.
        pinned: silo -> the only public key it is known by, where one is known.
    """

    def __init__(
        self,
        silo: str,
        random_bytes: RandomBytes,
        identity: Identity,
        pinned: Mapping[str, bytes],
    ) -> None:
        self.silo = silo
        self._random_bytes = random_bytes
        self._identity = identity
        self._pinned = pinned
        self._state: HolderState = Idle()
        self._next: type = Aborted

    def advertise_keys(self, terms: AggregationTerms, length: int) -> KeyAdvertisement:
        """Phase 0: a fresh channel key; the mask key plays no role in this mode.

        Raises:
            ProtocolError: the terms protect nothing, or do not name this silo.
        """
        self._leave(Idle, terms)
        terms.check()
        self._require(self.silo in terms.members, "the terms do not name this silo")
        channel, mask = (KeyPair.generate(self._random_bytes) for _ in range(2))
        context = context_hash(terms, length)
        held = KeysAdvertised(terms, context, length, channel, mask)
        self._enter(held)
        return self._advertisement(held)

    def deal_key(self, roster: Roster) -> SealedKey:
        """Phase 1, one silo only: a fresh shared key, sealed for each of the roster.

        Raises:
            ProtocolError: other terms, too few silos, not our own keys, or keys that a
                silo we know did not sign.
        """
        held = self._leave(KeysAdvertised, roster)
        self._check_roster(held, roster)
        context = homomorphic_context(roster, self.silo)
        shared = SharedKey(self._random_bytes(KEY_BYTES), new_secret_key())
        boxes = tuple(
            seal_key(
                shared,
                context,
                held.channel.private,
                (self.silo, peer.silo),
                peer,
                self._random_bytes,
            )
            for peer in roster.keys
        )
        self._enter(held)
        return SealedKey(self.silo, context, boxes)

    def encrypt_input(
        self, delivery: KeyDelivery, words: NDArray[np.uint32]
    ) -> EncryptedInput:
        """Phase 2: the input, tagged and encrypted under the shared key.

        Args:
            delivery: the roster, who dealt, and the box for this silo.
            words: uint32 [d], two's complement.

        Raises:
            ProtocolError: a wrong roster, or a box that does not open.
        """
        held = self._leave(KeysAdvertised, delivery)
        delivery.check()
        roster = delivery.roster
        self._check_roster(held, roster)
        self._require(
            words.dtype == np.uint32 and words.shape == (held.length,),
            f"the input must be {held.length} words of uint32, as advertised",
        )
        shared, context = self._shared_key(held, delivery)
        key = SecretKey.read(shared.secret_key)
        tags = SumTags(shared.tag_key, context, num_ciphertexts(words.size))
        seat = held.terms.seat(self.silo)
        ciphertexts = encrypted(words.view(np.int32), key, tags, seat)
        sha256 = inputs_sha256(ciphertexts)
        identities = {peer.silo: peer.identity for peer in roster.keys}
        self._enter(InputEncrypted(held, context, identities, key, tags, sha256))
        return EncryptedInput(self.silo, context, ciphertexts, sha256)

    def confirm_survivors(self, survivors: SurvivorList) -> Confirmation:
        """Phase 3: this list and no other.

        Raises:
            ProtocolError: too few survivors, strangers, or not our own upload.
        """
        held = self._leave(InputEncrypted, survivors)
        survivors.check()
        self._require(survivors.context == held.context, "a list of another context")
        self._require_members(survivors.silos, held.identities, held.before.terms)
        self._require(
            (self.silo, held.sha256) in survivors.uploads,
            "the coordinator lists another upload than ours",
        )
        self._enter(SurvivorsConfirmed(held, survivors))
        signature = self._identity.sign_survivors(survivors)
        return Confirmation(self.silo, held.context, signature)

    def open_sum(self, asked: SumToOpen) -> OpenedSum:
        """Phase 4: decrypt, and believe only the sum of exactly the list we signed.

        Raises:
            ProtocolError: fewer than t silos signed that list, or the tags do not add
                up: what was sent is not the sum of these uploads.
        """
        state = self._leave(SurvivorsConfirmed, asked)
        held, survivors = state.before, state.survivors
        asked.check()
        self._check_signatures(state, asked)
        terms, length = held.before.terms, held.before.length
        self._require(
            len(asked.ciphertexts) == num_ciphertexts(length),
            f"the sum has {len(asked.ciphertexts)} ciphertexts",
        )
        seats = [terms.seat(silo) for silo in survivors.silos]
        total = decrypted(asked.ciphertexts, held.key, held.tags, seats)[:length]
        self._enter(SumIsOpen(held.context, total))
        return OpenedSum(self.silo, held.context, total_sha256(total))

    def read_sum(self, request: ReadRequest) -> SumWords:
        """Phase 5, one silo only: the integers themselves.

        Raises:
            ProtocolError: asked for another sum.
        """
        held = self._leave(SumIsOpen, request)
        self._require(request.context == held.context, "a request of another context")
        self._enter(Finished())
        return SumWords(self.silo, held.context, held.total)

    def _leave(self, kind: type[State], message: object) -> State:
        """What the silo held; until the handler is through, it counts as aborted."""
        state = self._state
        self._next = next_state(
            HOLDER[type(state)],
            message,
            sender="the coordinator",
            state=type(state).__name__,
        )
        assert isinstance(state, kind)
        self._state = Aborted()
        return state

    def _enter(self, state: HolderState) -> None:
        assert type(state) is self._next
        self._state = state

    def _advertisement(self, held: KeysAdvertised) -> KeyAdvertisement:
        keys = held.channel.public, held.mask.public
        signature = self._identity.sign_keys(held.context, self.silo, *keys)
        return KeyAdvertisement(
            self.silo, held.length, *keys, self._identity.public, signature
        )

    def _shared_key(
        self, held: KeysAdvertised, delivery: KeyDelivery
    ) -> tuple[SharedKey, bytes]:
        keys = {peer.silo: peer for peer in delivery.roster.keys}
        self._require(delivery.dealer in keys, "a stranger dealt the key")
        context = homomorphic_context(delivery.roster, delivery.dealer)
        parties = delivery.dealer, self.silo
        dealer = keys[delivery.dealer]
        own = held.channel.private
        return open_key(delivery.box, context, own, parties, dealer), context

    def _check_roster(self, held: KeysAdvertised, roster: Roster) -> None:
        roster.check()
        self._require(
            roster.context == held.context and roster.length == held.length,
            "the roster belongs to other terms or another vector length",
        )
        own = self._advertisement(held)
        self._require(own in roster.keys, "the roster does not hold our own keys")
        self._require_members(roster.silos, held.terms.members, held.terms)
        published = {key.channel_key for key in roster.keys}
        self._require(
            len(published) == len(roster.keys), "the roster holds a key twice"
        )
        for key in roster.keys:
            self._require(
                self._pinned.get(key.silo, key.identity) == key.identity,
                f"{key.silo} shows another identity than the one it is known by here; "
                "if it was set up anew, take its line out of identities.json in this "
                "silo's folder",
            )
            self._require(
                keys_are_signed(roster.context, key),
                f"the keys of {key.silo} are not signed by it",
            )

    def _check_signatures(self, state: SurvivorsConfirmed, asked: SumToOpen) -> None:
        held, survivors, confirmed = state.before, state.survivors, asked.confirmed
        self._require(confirmed.context == held.context, "a list of another context")
        for silo, signature in confirmed.signatures:
            self._require(
                silo in survivors.silos
                and survivors_are_signed(held.identities[silo], signature, survivors),
                f"{silo} did not sign the list of survivors that we signed",
            )
        threshold = held.before.terms.threshold
        self._require(
            len(confirmed.signatures) >= threshold,
            f"{len(confirmed.signatures)} silos confirmed the list of survivors, the "
            f"terms ask for {threshold}",
        )

    def _require_members(
        self, silos: tuple[str, ...], among: Iterable[str], terms: AggregationTerms
    ) -> None:
        self._require(set(silos) <= set(among), "an unknown silo is listed")
        self._require(len(set(silos)) == len(silos), "a silo is listed twice")
        self._require(
            len(silos) >= terms.quorum,
            f"{len(silos)} silos are left, the terms ask for {terms.quorum}",
        )

    def _require(self, condition: bool, complaint: str) -> None:
        if not condition:
            raise ProtocolError(
                f"silo {self.silo} left homomorphic aggregation of this round: "
                f"{complaint}"
            )
