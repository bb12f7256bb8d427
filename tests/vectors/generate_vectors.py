"""Write the vectors of the wire protocols, from fixed inputs: `python <this file>`.

A changed vector means that old and new silos no longer understand each other: raise
the protocol version in `data_contracts.secure_aggregation` when you mean it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data_contracts.secure_aggregation import AggregationTerms, SurvivorList
from data_contracts.two_aggregators import MaskRequest
from data_contracts.workspace import InputKind
from tasks.secure_aggregation.auditor import Auditor
from tasks.secure_aggregation.boxes import SealedChannel, Shares
from tasks.secure_aggregation.context import canonical, context_hash, words_sha256
from tasks.secure_aggregation.keys import KeyPair, agree, pair_key, self_key
from tasks.secure_aggregation.masking import Mask, apply_masks, pairwise
from tasks.secure_aggregation.seed_boxes import (
    mask_of,
    mask_sum_text,
    seal_seed,
    split_context,
    upload_commitment,
)
from tasks.secure_aggregation.shamir import split
from tests.simulators.deterministic_bytes import deterministic_bytes
from tests.simulators.secure_round import (
    SecureRound,
    identity_of,
    random_inputs,
    terms_for,
)

FOLDER = Path(__file__).parent
TERMS = AggregationTerms(
    run_id="run-2026-01-01",
    round_number=7,
    purpose="model update",
    members=("east", "north", "west"),
    threshold=3,
    min_silos=3,
    kind=InputKind(32, "ec0de" * 12, "c0ffee" * 10),
)
OFFSETS = (0, 1, 3, 4, 65_535, 65_536, 10**9 + 1)


def secure_aggregation() -> dict[str, Any]:
    """Encoding, context, keys, masks, shares, boxes and one whole aggregation."""
    context = context_hash(TERMS, 1000)
    one, two = (KeyPair.generate(deterministic_bytes(name)) for name in ("one", "two"))
    secret = agree(one.private, two.public)
    pair = pair_key(secret, context, b"U2" * 16, 1, 3)
    own = self_key(b"seed" * 8, context, 2)
    return {
        "canonical": canonical("text", b"bytes", -1, 0.5, ["a", ("b", 2)]).hex(),
        "context": context.hex(),
        "public_keys": [one.public.hex(), two.public.hex()],
        "shared_secret": secret.hex(),
        "pair_key": pair.hex(),
        "self_key": own.hex(),
        "mask_words": {str(o): mask_words(pair, own, o) for o in OFFSETS},
        "shares": [
            share.hex()
            for share in split(b"seed" * 8, 2, [1, 2, 3], deterministic_bytes("shamir"))
        ],
        "box": box(context),
        "aggregation": aggregation(),
        "refused": refused(context),
    }


def mask_words(pair: bytes, own: bytes, offset: int) -> list[int]:
    """Six words from `offset`: plus the self mask, minus the pairwise mask."""
    words = np.zeros(6, dtype=np.uint32)
    masks = [Mask(own, subtract=False), pairwise(pair, 3, 1)]
    apply_masks(words, masks, start=offset)
    return words.tolist()


def box(context: bytes) -> dict[str, str]:
    """One sealed box with its commitments."""
    one = KeyPair.generate(deterministic_bytes("one"))
    round_ = SecureRound(terms_for(3), random_inputs(3, 1))
    recipient = round_.advertise().keys[1]
    channel = SealedChannel("silo-1", context, b"U1" * 16, one.private)
    shares = Shares(b"s" * 33, b"k" * 33)
    sealed = channel.seal(recipient, shares, deterministic_bytes("nonce"))
    return {
        "seed_commitment": sealed.seed_commitment.hex(),
        "key_commitment": sealed.key_commitment.hex(),
        "nonce": sealed.nonce.hex(),
        "ciphertext": sealed.ciphertext.hex(),
    }


def refused(context: bytes) -> dict[str, str]:
    """What an implementation must not accept, each one step away from what is good."""
    identity, other = identity_of("silo-1"), context_hash(TERMS, 1001)
    listed = SurvivorList(context, (("silo-1", "ab" * 32), ("silo-2", "cd" * 32)))
    fewer = SurvivorList(context, listed.uploads[:1])
    sealed = bytearray.fromhex(box(context)["ciphertext"])
    sealed[40] ^= 1
    share = split(b"seed" * 8, 2, [1, 2, 3], deterministic_bytes("shamir"))[0]
    return {
        "keys_signed_for_another_length": identity.sign_keys(
            other, "silo-1", b"c" * 32, b"m" * 32
        ).hex(),
        "keys_signed_for_another_silo": identity.sign_keys(
            context, "silo-2", b"c" * 32, b"m" * 32
        ).hex(),
        "confirmation_of_another_list": identity.sign_survivors(fewer).hex(),
        "box_with_a_flipped_bit": bytes(sealed).hex(),
        "share_one_too_large": (int.from_bytes(share) + 1).to_bytes(33).hex(),
    }


def aggregation() -> dict[str, Any]:
    """Five silos, 1003 words; silo-2 vanishes after it dealt its shares."""
    round_ = SecureRound(terms_for(5), random_inputs(5, 1003))
    round_.gone = {("silo-2", "MaskedInput")}
    total = round_.run()
    return {
        "uploads": {s: words_sha256(w) for s, w in round_.uploads.items()},
        "total_sha256": words_sha256(total.astype(np.int32).view(np.uint32)),
        "first_sums": total[:4].tolist(),
    }


def two_aggregators() -> dict[str, Any]:
    """Context, mask key, commitment, seed box, and what the auditor signs."""
    auditor = Auditor(
        "auditor", TERMS, deterministic_bytes("auditor"), identity_of("auditor"), {}
    )
    key = auditor.key
    context = split_context(TERMS, 1000, key)
    words = np.arange(1000, dtype=np.uint32)
    commitment = upload_commitment(context, "north", b"salt" * 8, words)
    box = seal_seed(
        b"seed" * 8, context, "north", commitment, key.key, identity_of("north"),
        deterministic_bytes("box"),
    )  # fmt: skip
    text = mask_sum_text(MaskRequest(context, 1000, (box,)), words)
    return {
        "context": context.hex(),
        "mask_key": mask_of(b"seed" * 8, context, 2).key.hex(),
        "auditor_key": [key.key.hex(), key.signature.hex()],
        "upload_commitment": commitment,
        "seed_box": [box.ciphertext.hex(), box.signature.hex()],
        "mask_sum_signature": identity_of("auditor").sign(text).hex(),
    }


VECTORS: dict[str, Callable[[], dict[str, Any]]] = {
    "secure_aggregation.json": secure_aggregation,
    "two_aggregators.json": two_aggregators,
}


def as_text(vectors: dict[str, Any]) -> str:
    """The file's bytes."""
    return json.dumps(vectors, indent=2) + "\n"


if __name__ == "__main__":
    for name, vectors in VECTORS.items():
        (FOLDER / name).write_text(as_text(vectors()), encoding="utf-8")
