"""The bytes of the protocol do not change unnoticed."""

import pytest

from data_contracts.workspace import InputKind
from tasks.secure_aggregation.context import canonical, context_hash
from tests.simulators.secure_round import integer_sum, random_inputs, terms_for
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
