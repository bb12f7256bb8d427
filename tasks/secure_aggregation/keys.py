"""Keys: X25519 agreement, HKDF-SHA256 derivation, AES-256-GCM boxes (PROTOCOL.md, 5).

Primitives come from pyca/cryptography; this module only fixes what goes into them.
Randomness is an argument everywhere: production passes `secrets.token_bytes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import KEY_BYTES, NONCE_BYTES
from tasks.secure_aggregation.context import Domain, Field, canonical

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True)
class KeyPair:
    """An X25519 key pair, both halves as 32 raw bytes."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> KeyPair:
        """A fresh pair."""
        private = random_bytes(KEY_BYTES)
        return cls(private, public_key(private))


def public_key(private: bytes) -> bytes:
    """The public half of an X25519 private key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, peer_public: bytes) -> bytes:
    """The X25519 shared secret (RFC 7748).

    Raises:
        ProtocolError: the peer's key is a low-order point, which agrees on nothing.
    """
    own = X25519PrivateKey.from_private_bytes(private)
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(peer_public))
    except ValueError:
        raise ProtocolError(
            "a public key of secure aggregation is a low-order point; the silo that "
            "advertised it must be left out"
        ) from None


def derive(secret: bytes, context: bytes, domain: Domain, *fields: Field) -> bytes:
    """32 bytes of HKDF-SHA256 (RFC 5869): salt = ctx, info = canonical(tag, fields)."""
    info = canonical(domain.value, *fields)
    return HKDF(SHA256(), KEY_BYTES, salt=context, info=info).derive(secret)


def pair_key(
    secret: bytes, context: bytes, dealers: bytes, seat: int, other_seat: int
) -> bytes:
    """s_uv, the key of the pairwise mask; the same whichever of the two asks.

    Args:
        secret: X25519 secret of the two mask keys.
        context: context hash.
        dealers: hash of U2.
        seat: one silo's seat.
        other_seat: the other's.
    """
    low, high = sorted((seat, other_seat))
    return derive(secret, context, Domain.PAIR_KEY, dealers, low, high)


def self_key(seed: bytes, context: bytes, seat: int) -> bytes:
    """The key of a silo's self mask, from its seed b_u."""
    return derive(seed, context, Domain.SELF_KEY, seat)


def seal(
    key: bytes, plaintext: bytes, label: bytes, random_bytes: RandomBytes
) -> tuple[bytes, bytes]:
    """(nonce, ciphertext with tag); `label` is authenticated and not sent."""
    nonce = random_bytes(NONCE_BYTES)
    return nonce, AESGCM(key).encrypt(nonce, plaintext, label)


def unseal(key: bytes, nonce: bytes, ciphertext: bytes, label: bytes) -> bytes:
    """The plaintext behind a box.

    Raises:
        ProtocolError: box, label or terms were changed after sealing.
    """
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, label)
    except InvalidTag:
        raise ProtocolError(
            "a sealed share does not open: it was changed on its way, or its dealer "
            "was given other terms"
        ) from None
