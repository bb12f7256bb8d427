"""The scheme and its tags: exact, keyless at the coordinator, picky about bytes."""

import numpy as np
import pytest

from data_contracts.errors import ProtocolError
from data_contracts.homomorphic_aggregation import CIPHERTEXT_BYTES, KEY_BOX_BYTES
from tasks.secure_aggregation import ciphertexts
from tasks.secure_aggregation.ciphertexts import (
    PLAIN_MODULUS,
    SLOTS,
    RunningSum,
    SecretKey,
    new_secret_key,
    parameters,
)
from tasks.secure_aggregation.encrypted_vectors import decrypted, encrypted
from tasks.secure_aggregation.sum_tags import TAGGED, SumTags

tenseal = pytest.importorskip("tenseal")


@pytest.fixture(scope="module")
def written():
    return new_secret_key()


@pytest.fixture(scope="module")
def key(written):
    return SecretKey.read(written)


def vector(*values):
    return np.array([*values, *[0] * (SLOTS - len(values))], dtype=np.int64)


def test_the_modulus_is_the_smallest_prime_that_fits():
    def is_prime(number):
        return all(number % d for d in range(2, int(number**0.5) + 1))

    fitting = range(2**32 + 1, PLAIN_MODULUS + 1, 2 * SLOTS)
    assert [p for p in fitting if is_prime(p)] == [PLAIN_MODULUS]


def test_the_moduli_are_those_that_the_proof_of_exactness_counts_on(key):
    data = key._context.seal_context().data
    level = data.first_context_data()
    assert level.total_coeff_modulus_bit_count() == 60
    assert data.key_context_data().total_coeff_modulus_bit_count() == 109


def test_a_thousand_silos_at_the_bound_add_up_exactly(key):
    """The sum of all the protocol admits, of the largest integers it admits."""
    largest = (2**31 - 1) // 1000
    one = key.encrypt(vector(*[largest, -largest] * (SLOTS // 2)))
    running = RunningSum(1)
    for _ in range(1000):
        running.add([one])
    (total,) = running.ciphertexts()
    assert key.decrypt(total).tolist() == [1000 * largest, -1000 * largest] * 2048


def test_two_encryptions_of_the_same_share_no_block(key):
    one, other = (key.encrypt(vector(1, 2, 3)) for _ in range(2))
    blocks = [{it[i : i + 8] for i in range(1000, 65_000, 8)} for it in (one, other)]
    assert not blocks[0] & blocks[1]


def test_sizes_are_below_what_messages_accept(key, written):
    assert len(key.encrypt(vector(*range(SLOTS)))) <= CIPHERTEXT_BYTES
    assert len(written) + 32 + 16 <= KEY_BOX_BYTES


def test_the_coordinator_holds_no_key_and_reads_nothing(key):
    running = RunningSum(1)
    context = running._context
    assert not context.is_private()
    assert not context.has_secret_key()
    ciphertext = key.encrypt(vector(5))
    loaded = tenseal.bfv_vector_from(context, ciphertext)
    with pytest.raises(ValueError, match="secret_key"):
        loaded.decrypt()
    with pytest.raises(ValueError, match="encryption"):
        tenseal.bfv_vector(context, [1])


def test_what_everybody_may_know_is_the_same_everywhere(written):
    again = ciphertexts._written_without_keys(ciphertexts._new_context())
    assert parameters() == again
    assert len(parameters()) < 200
    assert parameters() not in written


def test_another_key_reads_noise(key):
    stranger = SecretKey.read(new_secret_key())
    assert stranger.decrypt(key.encrypt(vector(7))).tolist() != vector(7).tolist()


@pytest.mark.parametrize("bad", [b"x", b"\0" * 1000, b"\x0a\xff\xff"])
def test_bytes_that_are_no_key_are_refused(bad):
    with pytest.raises(ProtocolError, match="cannot be read"):
        SecretKey.read(bad)


def test_parameters_alone_are_no_key():
    with pytest.raises(ProtocolError, match="cannot be read"):
        SecretKey.read(parameters())


def test_a_key_of_other_parameters_is_refused():
    weak = tenseal.context(
        tenseal.SCHEME_TYPE.BFV, SLOTS, PLAIN_MODULUS, [54, 55],
        tenseal.ENCRYPTION_TYPE.SYMMETRIC,
    ).serialize(save_secret_key=True, save_public_key=False,
                save_galois_keys=False, save_relin_keys=False)  # fmt: skip
    with pytest.raises(ProtocolError, match="other parameters"):
        SecretKey.read(weak)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda it: b"",
        lambda it: b"x" * 100,
        lambda it: it[:-10],
        lambda it: it[:40],
        lambda it: it[:50] + b"\xff" * 20 + it[70:],
    ],
)
def test_bytes_that_are_no_ciphertext_change_nothing(spoil, key):
    good = key.encrypt(vector(3))
    running = RunningSum(2)
    running.add([good, good])
    with pytest.raises(ProtocolError, match="cannot be read"):
        running.add([good, spoil(good)])
    assert [key.decrypt(it)[0] for it in running.ciphertexts()] == [3, 3]
    with pytest.raises(ProtocolError, match="cannot be read"):
        key.decrypt(spoil(good))


def test_a_ciphertext_of_fewer_slots_is_refused(key):
    short = tenseal.bfv_vector(key._context, [1, 2]).serialize()
    with pytest.raises(ProtocolError, match="cannot be read"):
        RunningSum(1).add([short])


def test_another_number_of_ciphertexts_is_refused(key):
    with pytest.raises(ProtocolError, match="1 ciphertexts instead of 2"):
        RunningSum(2).add([key.encrypt(vector())])


def python_tag(tags, values, pad):
    terms = zip(tags._coefficients.tolist(), values.tolist(), strict=True)
    return (sum(k * x for k, x in terms) + pad) % PLAIN_MODULUS


@pytest.mark.parametrize("size", [1, -1, 2**31 - 1, -(2**31), 2**32, -(2**32)])
def test_a_tag_is_what_exact_integers_give(size):
    tags = SumTags(bytes(32), bytes(32), 1)
    values = np.full(TAGGED, size, dtype=np.int64)
    assert tags.tag(values, 12) == python_tag(tags, values, 12)


def test_pads_add_up_and_differ_by_seat_and_place():
    tags = SumTags(bytes(32), bytes(32), 3)
    one, two = tags.pads([1]), tags.pads([2])
    assert len({*one.tolist(), *two.tolist()}) == 6
    assert tags.pads([1, 2]).tolist() == ((one + two) % PLAIN_MODULUS).tolist()


@pytest.fixture
def uploads(key):
    """Two silos' ciphertexts, and the tags they were made with."""
    tags = SumTags(b"k" * 32, b"c" * 32, 2)
    values = [np.arange(5000, dtype=np.int32), np.ones(5000, np.int32)]
    return tags, [
        encrypted(value, key, tags, seat) for seat, value in enumerate(values, start=1)
    ]


def added(*uploads):
    running = RunningSum(len(uploads[0]))
    for upload in uploads:
        running.add(upload)
    return running.ciphertexts()


def test_the_sum_of_both_is_believed(uploads, key):
    tags, (one, two) = uploads
    total = decrypted(added(one, two), key, tags, [1, 2])
    assert total[:5000].tolist() == list(range(1, 5001))
    assert not total[5000:].any()


def multiplied(upload, factor):
    return added(*[upload] * factor)


@pytest.mark.parametrize(
    "forge",
    [
        lambda one, two: one,
        lambda one, two: multiplied(one, 2),
        lambda one, two: added(one, one, two),
        lambda one, two: added(one, two)[::-1],
        lambda one, two: (added(one, two)[0], one[1]),
        lambda one, two: (added(one, two)[0],) * 2,
    ],
)
def test_anything_else_is_not(forge, uploads, key):
    tags, (one, two) = uploads
    with pytest.raises(ProtocolError, match="not the sum of the uploads"):
        decrypted(forge(one, two), key, tags, [1, 2])


def test_a_number_added_without_the_key_is_seen(uploads, key):
    """BFV lets anybody add numbers of their choice; the tag does not follow."""
    tags, (one, two) = uploads
    context = RunningSum(1)._context
    first, second = (tenseal.bfv_vector_from(context, it) for it in added(one, two))
    first = first.add([1] + [0] * (SLOTS - 1))
    with pytest.raises(ProtocolError, match="not the sum of the uploads"):
        decrypted([first.serialize(), second.serialize()], key, tags, [1, 2])
