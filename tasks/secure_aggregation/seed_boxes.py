"""Seeds of masks, sealed for the auditor (TWO_AGGREGATORS.md, 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import KEY_BYTES, AggregationTerms
from data_contracts.two_aggregators import AuditorKey, MaskRequest, SeedBox
from tasks.secure_aggregation.context import (
    Domain,
    canonical,
    context_hash,
    digest,
    words_sha256,
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


def auditor_key_text(terms: AggregationTerms, silo: str, key: bytes) -> bytes:
    """What the auditor signs; it does not know the length of the inputs yet."""
    return canonical(Domain.AUDITOR_KEY.value, context_hash(terms, 0), silo, key)


def auditor_is_genuine(terms: AggregationTerms, advertised: AuditorKey) -> bool:
    """Whether its identity signed this key for these terms."""
    text = auditor_key_text(terms, advertised.silo, advertised.key)
    return is_signed(advertised.identity, advertised.signature, text)


def split_context(terms: AggregationTerms, length: int, auditor: AuditorKey) -> bytes:
    """Ctx of this mode: what follows means nothing in another mode or audit."""
    return digest(
        Domain.TWO_AGGREGATORS,
        context_hash(terms, length),
        auditor.silo,
        auditor.identity,
        auditor.key,
    )


def upload_commitment(
    context: bytes, silo: str, salt: bytes, words: NDArray[np.unsignedinteger]
) -> str:
    """Hex digest that binds a silo to its upload [d].

    The auditor knows the mask. A plain hash of a small upload would let it try out
    inputs until one fits.
    """
    content = bytes.fromhex(words_sha256(words))
    return digest(Domain.UPLOAD_COMMITMENT, context, silo, salt, content).hex()


def mask_sum_text(request: MaskRequest, words: NDArray[np.unsignedinteger]) -> bytes:
    """What the auditor signs when it answers: for whom, and which sum."""
    listed = [(box.silo, box.commitment) for box in request.boxes]
    content = bytes.fromhex(words_sha256(words))
    return canonical(Domain.MASK_SUM.value, request.context, listed, content)


def mask_of(seed: bytes, context: bytes, seat: int) -> Mask:
    """The one mask of a silo's input."""
    return Mask(derive(seed, context, Domain.SPLIT_KEY, seat), subtract=False)


def seal_seed(
    seed: bytes,
    context: bytes,
    silo: str,
    commitment: str,
    auditor_key: bytes,
    identity: Identity,
    random_bytes: RandomBytes,
) -> SeedBox:
    """The silo's seed, for the auditor, bound to the upload committed to."""
    pair = KeyPair.generate(random_bytes)
    key = _box_key(agree(pair.private, auditor_key), context, silo)
    label = _label(context, silo, commitment)
    nonce, ciphertext = seal(key, seed, label, random_bytes)
    fields = silo, commitment, pair.public, nonce, ciphertext
    signature = identity.sign(_box_text(context, *fields))
    return SeedBox(*fields, identity.public, signature)


def box_is_signed(context: bytes, box: SeedBox) -> bool:
    """Whether the identity in the box signed it under this context."""
    fields = box.silo, box.commitment, box.key, box.nonce, box.ciphertext
    return is_signed(box.identity, box.signature, _box_text(context, *fields))


def open_seed(box: SeedBox, context: bytes, private: bytes) -> bytes:
    """The seed in a box, 32 bytes.

    Raises:
        ProtocolError: it does not open.
    """
    key = _box_key(agree(private, box.key), context, box.silo)
    label = _label(context, box.silo, box.commitment)
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


def _label(context: bytes, silo: str, commitment: str) -> bytes:
    return canonical(Domain.SEED_BOX.value, context, silo, commitment)


def _box_text(context: bytes, *fields: bytes | str) -> bytes:
    return canonical(Domain.SPLIT_INPUT.value, context, *fields)
