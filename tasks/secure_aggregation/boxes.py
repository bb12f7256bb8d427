"""Sealed shares: what a dealer puts into a box, and how a recipient checks it.

PROTOCOL.md, section 5. The commitments travel outside the box, for the coordinator,
and inside its authenticated label, so that nobody can change them on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import SHARE_BYTES, KeyAdvertisement, SealedBox
from tasks.secure_aggregation.context import Domain, canonical, digest
from tasks.secure_aggregation.keys import RandomBytes, agree, derive, seal, unseal


@dataclass(frozen=True)
class Shares:
    """One recipient's shares of one dealer's two secrets, 33 bytes each."""

    seed: bytes = field(repr=False)
    key: bytes = field(repr=False)

    def commitments(
        self, context: bytes, dealer: str, recipient: str
    ) -> tuple[bytes, bytes]:
        """(of seed share, of key share); hiding: a share alone is 256 random bits."""
        return (
            seed_commitment(context, dealer, recipient, self.seed),
            key_commitment(context, dealer, recipient, self.key),
        )


def seed_commitment(context: bytes, dealer: str, recipient: str, share: bytes) -> bytes:
    """Commitment to a share of a self-mask seed."""
    return digest(Domain.SEED_SHARE, context, dealer, recipient, share)


def key_commitment(context: bytes, dealer: str, recipient: str, share: bytes) -> bytes:
    """Commitment to a share of a mask key."""
    return digest(Domain.KEY_SHARE, context, dealer, recipient, share)


@dataclass(frozen=True)
class SealedChannel:
    """A silo's private line to every silo of one roster.

    Attributes:
        silo: whose end this is.
        context: context hash.
        roster: hash of U1.
        private: X25519 private channel key of this silo.
    """

    silo: str
    context: bytes
    roster: bytes
    private: bytes = field(repr=False)

    def seal(
        self, recipient: KeyAdvertisement, shares: Shares, random_bytes: RandomBytes
    ) -> SealedBox:
        """A box that only `recipient` can open."""
        parties = self.silo, recipient.silo
        commitments = shares.commitments(self.context, *parties)
        key = self._key(recipient, parties)
        label = self._label(parties, commitments)
        sealed = seal(key, shares.seed + shares.key, label, random_bytes)
        return SealedBox(*parties, *commitments, *sealed)

    def open(self, dealer: KeyAdvertisement, box: SealedBox) -> Shares:
        """The shares in a box for this silo.

        Raises:
            ProtocolError: names the dealer whose box does not open, is for another
                silo, or holds other shares than it commits to.
        """
        parties = dealer.silo, self.silo
        if (box.dealer, box.recipient) != parties:
            raise ProtocolError(
                f"silo {self.silo} was given a box from {box.dealer} for "
                f"{box.recipient} instead of its own from {dealer.silo}"
            )
        commitments = box.seed_commitment, box.key_commitment
        label = self._label(parties, commitments)
        try:
            text = unseal(self._key(dealer, parties), box.nonce, box.ciphertext, label)
        except ProtocolError as error:
            raise ProtocolError(f"{error.message} (dealer: {dealer.silo})") from None
        shares = Shares(text[:SHARE_BYTES], text[SHARE_BYTES:])
        if shares.commitments(self.context, *parties) != commitments:
            raise ProtocolError(
                f"silo {dealer.silo} dealt shares that break their own commitment"
            )
        return shares

    def _key(self, peer: KeyAdvertisement, parties: tuple[str, str]) -> bytes:
        secret = agree(self.private, peer.channel_key)
        return derive(secret, self.context, Domain.BOX_KEY, self.roster, *parties)

    def _label(
        self, parties: tuple[str, str], commitments: tuple[bytes, bytes]
    ) -> bytes:
        return canonical(
            Domain.BOX.value, self.context, self.roster, *parties, *commitments
        )
