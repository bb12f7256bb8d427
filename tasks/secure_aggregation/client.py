"""One silo's side of secure aggregation: message in, message out, nothing else.

Implements PROTOCOL.md, section 3, for an honest silo. Left out: what a silo keeps on
its disk, which is `silo_records.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    KEY_BYTES,
    AggregationTerms,
    Confirmation,
    ConfirmedList,
    KeyAdvertisement,
    MaskedInput,
    RevealedShares,
    Roster,
    SealedShares,
    ShareDelivery,
    SurvivorList,
)
from tasks.secure_aggregation.boxes import SealedChannel, Shares
from tasks.secure_aggregation.context import (
    context_hash,
    dealers_hash,
    dealt_hash,
    roster_hash,
    seed_hash,
    words_sha256,
)
from tasks.secure_aggregation.graph import Graph
from tasks.secure_aggregation.identity import (
    Identity,
    keys_are_signed,
    survivors_are_signed,
)
from tasks.secure_aggregation.keys import (
    KeyPair,
    RandomBytes,
    agree,
    pair_key,
    self_key,
)
from tasks.secure_aggregation.masking import Mask, apply_masks, pairwise
from tasks.secure_aggregation.shamir import split
from tasks.secure_aggregation.transitions import (
    CLIENT,
    Aborted,
    ClientState,
    Finished,
    Idle,
    InputUploaded,
    KeysAdvertised,
    ListConfirmed,
    SharesDealt,
    next_state,
)

State = TypeVar(
    "State", Idle, KeysAdvertised, SharesDealt, InputUploaded, ListConfirmed
)
NOBODY: Mapping[str, bytes] = MappingProxyType({})


class Client:
    """One silo in one attempt; each method answers one message, once.

    A message that is illegal in the present state is refused and changes nothing. A
    legal one that fails a check aborts the attempt: all secrets are forgotten.

    Args:
        silo: its name.
        random_bytes: source of every secret.
        identity: signs for it.
        pinned: silo -> the only public key it is known by, where one is known.
    """

    def __init__(
        self,
        silo: str,
        random_bytes: RandomBytes,
        identity: Identity,
        pinned: Mapping[str, bytes] = NOBODY,
    ) -> None:
        self.silo = silo
        self._random_bytes = random_bytes
        self._identity = identity
        self._pinned = pinned
        self._state: ClientState = Idle()
        self._next: type = Aborted

    @property
    def state(self) -> str:
        """Name of the state, for messages and tests."""
        return type(self._state).__name__

    def advertise_keys(self, terms: AggregationTerms, length: int) -> KeyAdvertisement:
        """Phase 0: fresh public keys for an input of `length` words.

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

    def share_keys(self, roster: Roster) -> SealedShares:
        """Phase 1: shares of both secrets, sealed for each silo in U1.

        Raises:
            ProtocolError: other terms, too few silos, equal keys, not our own keys, or
                keys that a silo we know did not sign.
        """
        held = self._leave(KeysAdvertised, roster)
        roster.check()
        self._require(
            roster.context == held.context and roster.length == held.length,
            "the roster belongs to other terms or another vector length",
        )
        own = self._advertisement(held)
        self._require(own in roster.keys, "the roster does not hold our own keys")
        self._require_members(roster.silos, held.terms.members, held.terms)
        published = [k for ad in roster.keys for k in (ad.channel_key, ad.mask_key)]
        self._require(
            len(set(published)) == len(published), "the roster holds a key twice"
        )
        self._require_identities(roster)

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
        survivors.check()
        self._require(survivors.context == held.context, "a list of another context")
        self._require_members(survivors.silos, held.dealers, held.terms)
        self._require(
            (self.silo, held.sha256) in survivors.uploads,
            "the coordinator lists another upload than ours",
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
        confirmed.check()
        self._require(confirmed.context == held.context, "a list of another context")
        in_sum = set(survivors.silos)
        for silo, signature in confirmed.signatures:
            self._require(
                silo in in_sum
                and survivors_are_signed(held.identities[silo], signature, survivors),
                f"{silo} did not sign the list of survivors that we signed",
            )
        self._require(
            len(confirmed.signatures) >= held.terms.threshold,
            f"{len(confirmed.signatures)} silos confirmed the list of survivors, the "
            f"terms ask for {held.terms.threshold}",
        )
        self._enter(Finished())
        return RevealedShares(
            self.silo,
            held.context,
            tuple((s, held.shares[s].seed) for s in held.shares if s in in_sum),
            tuple((s, held.shares[s].key) for s in held.shares if s not in in_sum),
        )

    def _leave(self, kind: type[State], message: object) -> State:
        """What the silo held; until the handler is through, it counts as aborted."""
        state = self._state
        self._next = next_state(
            CLIENT[type(state)], message, sender="the coordinator", state=self.state
        )
        assert isinstance(state, kind)
        self._state = Aborted()
        return state

    def _enter(self, state: ClientState) -> None:
        assert type(state) is self._next
        self._state = state

    def _advertisement(self, held: KeysAdvertised) -> KeyAdvertisement:
        keys = held.channel.public, held.mask.public
        signature = self._identity.sign_keys(held.context, self.silo, *keys)
        return KeyAdvertisement(
            self.silo, held.length, *keys, self._identity.public, signature
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

    def _require_identities(self, roster: Roster) -> None:
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
                f"silo {self.silo} left secure aggregation of this round: {complaint}"
            )
