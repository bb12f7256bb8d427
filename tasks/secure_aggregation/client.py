"""One silo's side of secure aggregation: message in, message out, nothing else.

Implements PROTOCOL.md, section 3, for an honest silo. Left out: what a silo keeps on
its disk, which is `silo_records.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_contracts.secure_aggregation import (
    KEY_BYTES,
    Confirmation,
    ConfirmedList,
    MaskedInput,
    RevealedShares,
    Roster,
    SealedShares,
    ShareDelivery,
    SurvivorList,
)
from tasks.secure_aggregation.boxes import SealedChannel, Shares
from tasks.secure_aggregation.context import (
    dealers_hash,
    dealt_hash,
    roster_hash,
    seed_hash,
    words_sha256,
)
from tasks.secure_aggregation.graph import Graph
from tasks.secure_aggregation.keys import (
    agree,
    pair_key,
    self_key,
)
from tasks.secure_aggregation.masking import Mask, apply_masks, pairwise
from tasks.secure_aggregation.party import Party
from tasks.secure_aggregation.shamir import split
from tasks.secure_aggregation.transitions import (
    CLIENT,
    Finished,
    InputUploaded,
    KeysAdvertised,
    ListConfirmed,
    SharesDealt,
)


class Client(Party):
    """One silo of the masked mode; each method answers one message, once."""

    MOVES = CLIENT
    MODE = "secure aggregation"

    def share_keys(self, roster: Roster) -> SealedShares:
        """Phase 1: shares of both secrets, sealed for each silo in U1.

        Raises:
            ProtocolError: other terms, too few silos, equal keys, not our own keys, or
                keys that a silo we know did not sign.
        """
        held = self._leave(KeysAdvertised, roster)
        self._check_roster(held, roster)
        channel = SealedChannel(
            self.silo, held.context, roster_hash(roster), held.channel.private
        )
        seed = self._random_bytes(KEY_BYTES)
        graph = Graph(roster, held.terms.neighbours)
        circle = graph.circle(self.silo)
        dealt = self._deal(held, roster, channel, seed, circle)
        self._enter(SharesDealt(held, roster, circle, channel, seed, dealt_hash(dealt)))
        return dealt

    def mask_input(
        self,
        delivery: ShareDelivery,
        words: NDArray[np.unsignedinteger],
        *,
        threads: int = 1,
    ) -> MaskedInput:
        """Phase 2: the input under its self mask and all pairwise masks.

        Args:
            delivery: U2 and the boxes for this silo.
            words: uint of the ring [d]; masked in place when writeable, so hand it
                over.
            threads: how many may mask at a time.

        Raises:
            ProtocolError: a box does not open or break its commitment, or U2 is wrong.
        """
        dealt = self._leave(SharesDealt, delivery)
        held, terms = dealt.before, dealt.before.terms
        delivery.check()
        self._require(delivery.context == held.context, "boxes of another context")
        self._require_members(delivery.silos, dealt.roster.silos, terms)
        self._require(
            (self.silo, dealt.dealt_hash) in delivery.dealers,
            "the coordinator lists other shares than we dealt",
        )
        near = tuple(silo for silo in delivery.silos if silo in dealt.circle)
        self._require(
            tuple(box.dealer for box in delivery.boxes) == near,
            "the boxes are not those of our neighbours",
        )
        self._require(
            len(near) >= terms.share_threshold,
            f"{len(near)} of our neighbours are left, {terms.share_threshold} of them "
            "must be able to open our part",
        )
        self._require(
            words.dtype == np.dtype(f"u{terms.kind.ring_bits // 8}")
            and words.shape == (held.length,),
            f"the input must be {held.length} words of {terms.kind.ring_bits} bits, "
            "as agreed",
        )
        keys = {key.silo: key for key in dealt.roster.keys}
        shares = {
            b.dealer: dealt.channel.open(keys[b.dealer], b) for b in delivery.boxes
        }

        masked = words if words.flags.writeable else words.copy()
        apply_masks(masked, self._masks(dealt, delivery), threads=threads)
        sha256 = words_sha256(masked)
        identities = {silo: key.identity for silo, key in keys.items()}
        self._enter(
            InputUploaded(
                terms, held.context, identities, delivery.silos, shares, sha256
            )
        )
        return MaskedInput(self.silo, held.context, masked, sha256)

    def confirm_survivors(self, survivors: SurvivorList) -> Confirmation:
        """Phase 3: this list and no other.

        Raises:
            ProtocolError: too few survivors, strangers, or not our own upload.
        """
        held = self._leave(InputUploaded, survivors)
        self._check_survivors(
            survivors, held.context, held.dealers, held.sha256, held.terms
        )
        self._enter(ListConfirmed(held, survivors))
        signature = self._identity.sign_survivors(survivors)
        return Confirmation(self.silo, held.context, signature)

    def reveal_shares(self, confirmed: ConfirmedList) -> RevealedShares:
        """Phase 4: seed shares of survivors, key shares of the others, never both.

        Raises:
            ProtocolError: fewer than t silos signed the list that we signed.
        """
        state = self._leave(ListConfirmed, confirmed)
        held, survivors = state.before, state.survivors
        self._check_confirmed(confirmed, survivors, held.identities, held.terms)
        in_sum = set(survivors.silos)
        self._enter(Finished())
        return RevealedShares(
            self.silo,
            held.context,
            tuple((s, held.shares[s].seed) for s in held.shares if s in in_sum),
            tuple((s, held.shares[s].key) for s in held.shares if s not in in_sum),
        )

    def _deal(
        self,
        held: KeysAdvertised,
        roster: Roster,
        channel: SealedChannel,
        seed: bytes,
        circle: tuple[str, ...],
    ) -> SealedShares:
        seats = [held.terms.seat(silo) for silo in circle]
        threshold, random_bytes = held.terms.share_threshold, self._random_bytes
        peers = [key for key in roster.keys if key.silo in circle]
        seed_shares = split(seed, threshold, seats, random_bytes)
        key_shares = split(held.mask.private, threshold, seats, random_bytes)
        boxes = tuple(
            channel.seal(peer, Shares(*shares), random_bytes)
            for peer, *shares in zip(peers, seed_shares, key_shares, strict=True)
        )
        return SealedShares(
            self.silo, held.context, seed_hash(held.context, self.silo, seed), boxes
        )

    def _masks(self, dealt: SharesDealt, delivery: ShareDelivery) -> list[Mask]:
        """PRG(b_u) + sum over v > u of PRG(s_uv) - sum over v < u of PRG(s_uv)."""
        held, terms = dealt.before, dealt.before.terms
        seat = terms.seat(self.silo)
        u2 = dealers_hash(held.context, delivery.dealers)
        masks = [Mask(self_key(dealt.seed, held.context, seat), subtract=False)]
        partners = set(delivery.silos) & set(dealt.circle) - {self.silo}
        for peer in dealt.roster.keys:
            if peer.silo in partners:
                secret = agree(held.mask.private, peer.mask_key)
                other = terms.seat(peer.silo)
                key = pair_key(secret, held.context, u2, seat, other)
                masks.append(pairwise(key, seat, other))
        return masks
