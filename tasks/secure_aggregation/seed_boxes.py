"""Seeds of masks, sealed for the auditor (TWO_AGGREGATORS.md, 2)."""

from __future__ import annotations

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import KEY_BYTES, AggregationTerms
from data_contracts.two_aggregators import AuditorKey, SeedBox
from tasks.secure_aggregation.context import (
    Domain,
    canonical,
    context_hash,
    digest,
)
from tasks.secure_aggregation.identity import Identity, is_signed
from tasks.secure_aggregation.keys import (
    KeyPair,
    RandomBytes,
    agree,
    derive,
    seal,
    unseal,
)
from tasks.secure_aggregation.masking import Mask


def split_context(terms: AggregationTerms, length: int) -> bytes:
    """Ctx of this mode: no message of it means anything in another."""
    return digest(Domain.TWO_AGGREGATORS, context_hash(terms, length))


def auditor_key_text(terms: AggregationTerms, silo: str, key: bytes) -> bytes:
    """What the auditor signs; it does not know the length of the inputs yet."""
    return canonical(Domain.AUDITOR_KEY.value, split_context(terms, 0), silo, key)


def auditor_is_genuine(terms: AggregationTerms, advertised: AuditorKey) -> bool:
    """Whether its identity signed this key for these terms."""
    text = auditor_key_text(terms, advertised.silo, advertised.key)
    return is_signed(advertised.identity, advertised.signature, text)


def mask_of(seed: bytes, context: bytes, seat: int) -> Mask:
    """The one mask of a silo's input."""
    return Mask(derive(seed, context, Domain.SPLIT_KEY, seat), subtract=False)


def seal_seed(
    seed: bytes,
    context: bytes,
    silo: str,
    sha256: str,
    auditor_key: bytes,
    identity: Identity,
    random_bytes: RandomBytes,
) -> SeedBox:
    """The silo's seed, for the auditor, bound to the upload with this hash."""
    pair = KeyPair.generate(random_bytes)
    key = _box_key(agree(pair.private, auditor_key), context, silo)
    nonce, ciphertext = seal(key, seed, _label(context, silo, sha256), random_bytes)
    fields = silo, sha256, pair.public, nonce, ciphertext
    signature = identity.sign(_box_text(context, *fields))
    return SeedBox(*fields, identity.public, signature)


def box_is_signed(context: bytes, box: SeedBox) -> bool:
    """Whether the identity in the box signed it under this context."""
    fields = box.silo, box.sha256, box.key, box.nonce, box.ciphertext
    return is_signed(box.identity, box.signature, _box_text(context, *fields))


def open_seed(box: SeedBox, context: bytes, private: bytes) -> bytes:
    """The seed in a box, 32 bytes.

    Raises:
        ProtocolError: it does not open.
    """
    key = _box_key(agree(private, box.key), context, box.silo)
    label = _label(context, box.silo, box.sha256)
    try:
        seed = unseal(key, box.nonce, box.ciphertext, label)
    except ProtocolError:
        raise ProtocolError(f"the sealed seed of silo {box.silo} does not open") from (
            None
        )
    assert len(seed) == KEY_BYTES
    return seed


def _box_key(secret: bytes, context: bytes, silo: str) -> bytes:
    return derive(secret, context, Domain.SEED_BOX_KEY, silo)


def _label(context: bytes, silo: str, sha256: str) -> bytes:
    return canonical(Domain.SEED_BOX.value, context, silo, sha256)


def _box_text(context: bytes, *fields: bytes | str) -> bytes:
    return canonical(Domain.SPLIT_INPUT.value, context, *fields)
