"""The context hash, domain tags and the one canonical encoding (PROTOCOL.md, 4).

Everything that is hashed or derived in this room goes through `canonical`, so no two
different inputs share an encoding and no digest means two things.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from data_contracts.secure_aggregation import AggregationTerms, Roster, SealedShares

Field = bytes | str | int | float | Sequence["Field"]

_MASK_GENERATOR = "AES-256-CTR"


class Domain(StrEnum):
    """What a digest or a derived key is for."""

    CONTEXT = "silorec secure aggregation 1 context"
    ROSTER = "silorec secure aggregation 1 roster"
    DEALT = "silorec secure aggregation 1 dealt shares"
    DEALERS = "silorec secure aggregation 1 dealers"
    SEED_HASH = "silorec secure aggregation 1 self-mask seed"
    SEED_SHARE = "silorec secure aggregation 1 seed share commitment"
    KEY_SHARE = "silorec secure aggregation 1 key share commitment"
    ADVERTISEMENT = "silorec secure aggregation 1 advertised keys"
    CONFIRMATION = "silorec secure aggregation 1 confirmed survivors"
    BOX_KEY = "silorec secure aggregation 1 box key"
    BOX = "silorec secure aggregation 1 box"
    PAIR_KEY = "silorec secure aggregation 1 pair key"
    SELF_KEY = "silorec secure aggregation 1 self key"
    GRAPH = "silorec secure aggregation 1 graph"
    TWO_AGGREGATORS = "silorec two aggregators 1 context"
    AUDITOR_KEY = "silorec two aggregators 1 auditor key"
    SPLIT_KEY = "silorec two aggregators 1 mask key"
    SEED_BOX_KEY = "silorec two aggregators 1 seed box key"
    SEED_BOX = "silorec two aggregators 1 seed box"
    SPLIT_INPUT = "silorec two aggregators 1 split input"
    UPLOAD_COMMITMENT = "silorec two aggregators 1 upload commitment"
    MASK_SUM = "silorec two aggregators 1 sum of masks"
    MANIFEST = "silorec federation manifest 1"
    HOMOMORPHIC = "silorec homomorphic aggregation 1 context"
    KEY_BOX_KEY = "silorec homomorphic aggregation 1 key box key"
    KEY_BOX = "silorec homomorphic aggregation 1 key box"
    TAG_COEFFICIENTS = "silorec homomorphic aggregation 1 tag coefficients"
    TAG_PADS = "silorec homomorphic aggregation 1 tag pads"
    GROUPING = "silorec secure aggregation 1 grouping"


def canonical(*fields: Field) -> bytes:
    """Injective encoding: for each field its type, its length, its bytes.

    bytes `b`, str `s` (UTF-8), int `i` (8 bytes, signed), float `f` (IEEE 754 double)
    carry an 8-byte length; a sequence `l` carries its count, then its fields. All
    numbers are big-endian.
    """
    return b"".join(map(_encoded, fields))


def digest(domain: Domain, *fields: Field) -> bytes:
    """SHA-256 over the domain tag and the fields."""
    return hashlib.sha256(canonical(domain.value, *fields)).digest()


def context_hash(terms: AggregationTerms, length: int) -> bytes:
    """ctx: two sides with different terms derive unrelated keys and open no box.

    Args:
        terms: what was offered.
        length: words [d] of every input.
    """
    return digest(
        Domain.CONTEXT,
        terms.version,
        terms.run_id,
        terms.round_number,
        terms.attempt,
        terms.purpose,
        terms.manifest_hash,
        terms.members,
        terms.threshold,
        terms.neighbours,
        terms.share_threshold,
        terms.min_silos,
        length,
        terms.kind.ring_bits,
        terms.kind.encoding_hash,
        _MASK_GENERATOR,
        terms.kind.model_hash,
    )


def roster_hash(roster: Roster) -> bytes:
    """Hash of U1: every silo must have seen the same keys."""
    keys = [(k.silo, k.channel_key, k.mask_key, k.identity) for k in roster.keys]
    return digest(Domain.ROSTER, roster.context, keys)


def seed_hash(context: bytes, silo: str, seed: bytes) -> bytes:
    """Public commitment to the 256-bit seed of a silo's self mask."""
    return digest(Domain.SEED_HASH, context, silo, seed)


def dealt_hash(dealt: SealedShares) -> bytes:
    """Hash of everything one dealer dealt."""
    boxes = [
        (b.recipient, b.seed_commitment, b.key_commitment, b.nonce, b.ciphertext)
        for b in dealt.boxes
    ]
    return digest(Domain.DEALT, dealt.context, dealt.silo, dealt.seed_hash, boxes)


def dealers_hash(context: bytes, dealers: Sequence[tuple[str, bytes]]) -> bytes:
    """Hash of U2, inside every pair key."""
    return digest(Domain.DEALERS, context, list(dealers))


def words_sha256(words: NDArray[np.unsignedinteger]) -> str:
    """SHA-256 hex of words [d] as little-endian bytes."""
    little_endian = words.astype(words.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little_endian.data).hexdigest()


def _encoded(field: Field) -> bytes:
    if isinstance(field, bytes):
        return b"b" + len(field).to_bytes(8) + field
    if isinstance(field, str):
        text = field.encode()
        return b"s" + len(text).to_bytes(8) + text
    if isinstance(field, int):
        return b"i" + (8).to_bytes(8) + field.to_bytes(8, signed=True)
    if isinstance(field, float):
        return b"f" + (8).to_bytes(8) + struct.pack(">d", field)
    return b"l" + len(field).to_bytes(8) + canonical(*field)
