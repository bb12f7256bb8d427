"""One silo's side of the homomorphic mode: message in, message out, nothing else.

Implements HOMOMORPHIC.md, section 2, for an honest silo. Left out: what a silo keeps on
its disk, which is `silo_records.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    Confirmation,
    Roster,
    SurvivorList,
)
from tasks.secure_aggregation.ciphertexts import SecretKey, new_secret_key
from tasks.secure_aggregation.encrypted_vectors import (
    decrypted,
    encrypted,
    inputs_sha256,
    num_ciphertexts,
    total_sha256,
)
from tasks.secure_aggregation.homomorphic_transitions import (
    HOLDER,
    InputEncrypted,
    SumIsOpen,
    SurvivorsConfirmed,
)
from tasks.secure_aggregation.key_boxes import (
    SharedKey,
    homomorphic_context,
    open_key,
    seal_key,
)
from tasks.secure_aggregation.party import Party
from tasks.secure_aggregation.sum_tags import SumTags
from tasks.secure_aggregation.transitions import (
    Finished,
    KeysAdvertised,
)


class KeyHolder(Party):
    """One silo of the homomorphic mode; the mask key it advertises plays no role.

    The library that encrypts draws its own randomness from the operating system.
    """

    MOVES = HOLDER
    MODE = "homomorphic aggregation"

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
        self._check_survivors(
            survivors, held.context, held.identities, held.sha256, held.before.terms
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
        terms, length = held.before.terms, held.before.length
        self._check_confirmed(asked.confirmed, survivors, held.identities, terms)
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
