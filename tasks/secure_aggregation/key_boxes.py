"""Handing the shared key to every silo: context and boxes (HOMOMORPHIC.md, 3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from data_contracts.errors import ProtocolError
from data_contracts.homomorphic_aggregation import KeyBox
from data_contracts.secure_aggregation import KEY_BYTES, KeyAdvertisement, Roster
from tasks.secure_aggregation.ciphertexts import parameters
from tasks.secure_aggregation.context import Domain, canonical, digest, roster_hash
from tasks.secure_aggregation.keys import RandomBytes, agree, derive, seal, unseal


def homomorphic_context(roster: Roster, dealer: str) -> bytes:
    """Hash of ctx and all keys, of who deals, and of the scheme's parameters."""
    return digest(Domain.HOMOMORPHIC, roster_hash(roster), dealer, parameters())


@dataclass(frozen=True)
class SharedKey:
    """What all silos know and the coordinator does not.

    Attributes:
        tag_key: 32 bytes, keys the tags.
        secret_key: the decryption key, as written by `new_secret_key`.
    """

    tag_key: bytes = field(repr=False)
    secret_key: bytes = field(repr=False)


def seal_key(
    shared: SharedKey,
    context: bytes,
    own_private: bytes,
    parties: tuple[str, str],
    recipient: KeyAdvertisement,
    random_bytes: RandomBytes,
) -> KeyBox:
    """A box that only `recipient` can open, and only as one from this dealer.

    Args:
        shared: the key.
        context: of this aggregation.
        own_private: X25519 channel key of the dealer.
        parties: dealer and recipient.
        recipient: its advertised keys.
        random_bytes: source of the nonce.
    """
    key, label = _key_and_label(context, own_private, recipient, parties)
    text = shared.tag_key + shared.secret_key
    return KeyBox(recipient.silo, *seal(key, text, label, random_bytes))


def open_key(
    box: KeyBox,
    context: bytes,
    own_private: bytes,
    parties: tuple[str, str],
    dealer: KeyAdvertisement,
) -> SharedKey:
    """The key in a box for this silo.

    Raises:
        ProtocolError: names the dealer whose box does not open.
    """
    key, label = _key_and_label(context, own_private, dealer, parties)
    try:
        text = unseal(key, box.nonce, box.ciphertext, label)
    except ProtocolError:
        raise ProtocolError(
            f"the box from {dealer.silo} with the shared key does not open: it was "
            "changed on its way, or made for other terms or another silo"
        ) from None
    return SharedKey(text[:KEY_BYTES], text[KEY_BYTES:])


def _key_and_label(
    context: bytes, private: bytes, peer: KeyAdvertisement, parties: tuple[str, str]
) -> tuple[bytes, bytes]:
    secret = agree(private, peer.channel_key)
    key = derive(secret, context, Domain.KEY_BOX_KEY, *parties)
    return key, canonical(Domain.KEY_BOX.value, context, *parties)
