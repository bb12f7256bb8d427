"""The bytes of the protocol do not change unnoticed; what is bad stays refused."""

import json
from dataclasses import replace

import pytest

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import KeyAdvertisement, SurvivorList
from data_contracts.workspace import InputKind
from tasks.secure_aggregation.boxes import SealedChannel, Shares, seed_commitment
from tasks.secure_aggregation.context import canonical, context_hash
from tasks.secure_aggregation.identity import keys_are_signed, survivors_are_signed
from tasks.secure_aggregation.keys import KeyPair
from tasks.secure_aggregation.shamir import combine
from tests.simulators.deterministic_bytes import deterministic_bytes
from tests.simulators.secure_round import (
    identity_of,
    integer_sum,
    random_inputs,
    terms_for,
)
from tests.vectors.generate_vectors import FOLDER, VECTORS, aggregation, as_text


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_are_reproduced_byte_for_byte(name):
    stored = (FOLDER / name).read_text(encoding="utf-8")
    assert as_text(VECTORS[name]()) == stored


def test_the_aggregation_vector_is_the_integer_sum():
    inputs = random_inputs(5, 1003)
    del inputs["silo-2"]
    assert aggregation()["first_sums"] == integer_sum(inputs)[:4]


CHANGES = {
    "run_id": "run-2",
    "round_number": 4,
    "purpose": "item counts",
    "members": ("silo-1", "silo-2", "silo-4"),
    "threshold": 2,
    "min_silos": 3,
    "manifest_hash": "ef" * 32,
    "attempt": 2,
    "version": 2,
}


KINDS = [
    InputKind(16, "cd" * 32, "ab" * 32),
    InputKind(32, "cd" * 31 + "ce", "ab" * 32),
    InputKind(32, "cd" * 32, "ab" * 31 + "ac"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_ring_encoding_and_model_are_in_the_context(kind):
    assert context_hash(terms_for(3, kind=kind), 10) != context_hash(terms_for(3), 10)


@pytest.mark.parametrize("term", CHANGES)
def test_every_term_changes_the_context(term):
    changed = terms_for(3, **{term: CHANGES[term]})
    assert context_hash(changed, 10) != context_hash(terms_for(3), 10)


def test_the_graph_changes_the_context():
    sparse = terms_for(201, neighbours=50)
    assert context_hash(sparse, 10) != context_hash(terms_for(201), 10)


def test_the_length_changes_the_context():
    assert context_hash(terms_for(3), 10) != context_hash(terms_for(3), 11)


LOOKALIKES = [
    (("ab", "c"), ("a", "bc")),
    (("1",), (b"1",)),
    ((1,), ("1",)),
    ((1,), (1.0,)),
    (("a", "b"), (["a", "b"],)),
    ((["a"], "b"), (["a", "b"],)),
    (([],), ()),
    (("",), (b"",)),
]


@pytest.mark.parametrize(("one", "other"), LOOKALIKES)
def test_different_fields_never_share_an_encoding(one, other):
    assert canonical(*one) != canonical(*other)


STORED = json.loads((FOLDER / "secure_aggregation.json").read_text(encoding="utf-8"))
REFUSED = {name: bytes.fromhex(text) for name, text in STORED["refused"].items()}
CONTEXT = bytes.fromhex(STORED["context"])
KEYS = KeyAdvertisement(
    "silo-1", 1000, b"c" * 32, b"m" * 32, identity_of("silo-1").public, bytes(64)
)


def test_keys_signed_for_something_else_are_refused():
    good = identity_of("silo-1").sign_keys(CONTEXT, "silo-1", b"c" * 32, b"m" * 32)
    assert keys_are_signed(CONTEXT, replace(KEYS, signature=good))
    for name in ("keys_signed_for_another_length", "keys_signed_for_another_silo"):
        assert not keys_are_signed(CONTEXT, replace(KEYS, signature=REFUSED[name]))


def test_a_confirmation_of_another_list_is_refused():
    listed = SurvivorList(CONTEXT, (("silo-1", "ab" * 32), ("silo-2", "cd" * 32)))
    fewer = replace(listed, uploads=listed.uploads[:1])
    bad = REFUSED["confirmation_of_another_list"]
    assert survivors_are_signed(KEYS.identity, bad, fewer)
    assert not survivors_are_signed(KEYS.identity, bad, listed)


def test_a_box_with_a_flipped_bit_is_refused():
    good = bytes.fromhex(STORED["box"]["ciphertext"])
    nonce = bytes.fromhex(STORED["box"]["nonce"])
    commitments = [
        bytes.fromhex(STORED["box"][f"{kind}_commitment"]) for kind in ("seed", "key")
    ]
    dealer, peer = (KeyPair.generate(deterministic_bytes(n)) for n in ("one", "two"))
    recipient = SealedChannel("silo-2", CONTEXT, b"U1" * 16, peer.private)
    shares = Shares(b"s" * 33, b"k" * 33)
    ours = SealedChannel("silo-1", CONTEXT, b"U1" * 16, dealer.private).seal(
        replace(KEYS, silo="silo-2", channel_key=peer.public), shares,
        deterministic_bytes("nonce"),
    )  # fmt: skip
    sender = replace(KEYS, channel_key=dealer.public)
    assert recipient.open(sender, ours) == shares
    assert (ours.nonce, [ours.seed_commitment, ours.key_commitment]) == (
        nonce, commitments
    )  # fmt: skip
    assert good != REFUSED["box_with_a_flipped_bit"]
    broken = bytearray(ours.ciphertext)
    broken[40] ^= 1
    with pytest.raises(ProtocolError, match="does not open"):
        recipient.open(sender, replace(ours, ciphertext=bytes(broken)))
    with pytest.raises(ProtocolError, match="does not open"):
        recipient.open(
            sender, replace(ours, ciphertext=REFUSED["box_with_a_flipped_bit"])
        )


def test_a_share_that_is_one_too_large_is_found_out():
    good = bytes.fromhex(STORED["shares"][0])
    promised = seed_commitment(CONTEXT, "silo-1", "silo-2", good)
    bad = REFUSED["share_one_too_large"]
    assert seed_commitment(CONTEXT, "silo-1", "silo-2", bad) != promised
    others = {2: bytes.fromhex(STORED["shares"][1])}
    assert combine({1: good, **others}) == b"seed" * 8
    assert combine({1: bad, **others}) != b"seed" * 8
