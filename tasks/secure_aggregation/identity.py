"""Who said it: long-lived Ed25519 identities and their signatures (PROTOCOL.md, 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from data_contracts.secure_aggregation import KeyAdvertisement, SurvivorList
from tasks.secure_aggregation.context import Domain, Field, canonical


@dataclass(frozen=True)
class Identity:
    """A silo's signing key (RFC 8032); the same in every run.

    Attributes:
        private: 32 secret bytes.
    """

    private: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """What others know the silo by, 32 bytes."""
        return self._key().public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The signature on a message that names what it is for."""
        return self._key().sign(message)

    def sign_keys(self, context: bytes, silo: str, *keys: bytes) -> bytes:
        """The signature that makes the keys of an attempt this silo's own."""
        return self.sign(canonical(Domain.ADVERTISEMENT.value, context, silo, *keys))

    def sign_survivors(self, survivors: SurvivorList) -> bytes:
        """The signature that says: this U3 and no other."""
        return self.sign(_survivors(survivors))

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.private)


def keys_are_signed(context: bytes, advertised: KeyAdvertisement) -> bool:
    """Whether the advertised identity signed these keys under this context."""
    fields = (context, advertised.silo, advertised.channel_key, advertised.mask_key)
    message = canonical(Domain.ADVERTISEMENT.value, *fields)
    return is_signed(advertised.identity, advertised.signature, message)


def survivors_are_signed(
    public: bytes, signature: bytes, survivors: SurvivorList
) -> bool:
    """Whether this identity confirmed exactly this list."""
    return is_signed(public, signature, _survivors(survivors))


def _survivors(survivors: SurvivorList) -> bytes:
    uploads: list[Field] = [list(upload) for upload in survivors.uploads]
    return canonical(Domain.CONFIRMATION.value, survivors.context, uploads)


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the identity `public` signed exactly this message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
