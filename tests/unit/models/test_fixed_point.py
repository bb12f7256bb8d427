"""Floats and counts as ring words."""

import numpy as np
import pytest

from data_contracts.errors import ConfigError, NotFiniteError, SiloInputError
from models.fixed_point import (
    FixedPoint,
    bits_for,
    decode_counts,
    encode_counts,
)


def ring_sum(vectors):
    """Add words as the coordinator does, and read the result as signed."""
    total = np.zeros_like(vectors[0])
    for words in vectors:
        total += words
    return total.view(np.int32).astype(np.int64)


@pytest.mark.parametrize(
    ("num_silos", "bits"),
    [(1, 32), (2, 31), (3, 30), (4, 30), (5, 29), (10, 28), (100, 25), (1000, 22)],
)
def test_width_is_the_largest_whose_sum_cannot_overflow(num_silos, bits):
    assert bits_for(num_silos) == bits
    assert num_silos * (2 ** (bits - 1) - 1) < 2**31 <= num_silos * (2**bits - 1)


@pytest.mark.parametrize("num_silos", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("sign", [1, -1])
def test_all_silos_at_the_clip_bound_do_not_overflow(num_silos, sign):
    point = FixedPoint(0.3, bits_for(num_silos))
    words, clipped = point.encode(np.full(5, sign * 0.3))
    total = ring_sum([words] * num_silos)
    assert clipped == 0
    assert total.tolist() == [sign * num_silos * point.limit] * 5
    assert np.allclose(point.decode(total), sign * num_silos * 0.3, rtol=1e-12)


def test_one_bit_more_than_allowed_would_overflow():
    point = FixedPoint(1.0, bits_for(5) + 1)
    words, _ = point.encode(np.ones(1))
    assert ring_sum([words] * 5)[0] < 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [0, 1, 32_768, 32_769, 100_003])
def test_decoding_gives_back_what_was_encoded_within_half_a_step(dtype, length):
    point = FixedPoint(4.0, 25)
    x = np.random.default_rng(0).uniform(-4, 4, length).astype(dtype)
    words, clipped = point.encode(x)
    assert (words.dtype, words.shape, clipped) == (np.uint32, (length,), 0)
    error = np.abs(point.decode(ring_sum([words])) - x)
    assert error.max(initial=0) <= 0.5 * point.resolution * (1 + 1e-9)


def test_small_values_are_read_off_by_eye():
    words, _ = FixedPoint(7.0, 4).encode(np.array([0.0, 1.0, -1.0, 2.4, 2.6, -7.0]))
    assert words.view(np.int32).tolist() == [0, 1, -1, 2, 3, -7]


def test_encoding_is_deterministic_and_leaves_its_input_alone():
    x = np.random.default_rng(1).normal(size=70_000)
    x.setflags(write=False)
    point = FixedPoint(1.0, 25)
    assert point.encode(x)[0].tobytes() == point.encode(x)[0].tobytes()


def test_clipped_coordinates_are_counted_and_held_at_the_bound():
    x = np.zeros(70_000)
    x[[0, 40_000, 69_999]] = 1.5, -9e300, 1e308
    x[1] = 1.0
    point = FixedPoint(1.0, 25)
    words, clipped = point.encode(x)
    signed = words.view(np.int32)
    assert clipped == 3
    assert signed[[0, 1, 40_000, 69_999]].tolist() == [
        point.limit, point.limit, -point.limit, point.limit
    ]  # fmt: skip


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 50_000])
def test_not_finite_values_are_refused_without_showing_them(bad, place):
    x = np.zeros(50_001, dtype=np.float32)
    x[place] = bad
    with pytest.raises(NotFiniteError, match="nothing was encoded"):
        FixedPoint(1.0, 25).encode(x)


@pytest.mark.parametrize(
    ("clip", "bits", "says"),
    [
        (0.0, 25, "clip 0.0"),
        (-1.0, 25, "clip -1.0"),
        (np.inf, 25, "clip inf"),
        (1.0, 1, "bits 1 must lie between 2 and 32"),
        (1.0, 33, "bits 33"),
    ],
)
def test_impossible_encodings_are_refused(clip, bits, says):
    with pytest.raises(ConfigError, match=says):
        FixedPoint(clip, bits)


@pytest.mark.parametrize("num_silos", [0, -1, 2**31])
def test_an_impossible_number_of_silos_is_refused(num_silos):
    with pytest.raises(ConfigError, match="num_silos"):
        bits_for(num_silos)


@pytest.mark.parametrize("num_silos", [1, 3, 10])
def test_counts_are_exact_up_to_the_largest_allowed(num_silos):
    largest = (2**31 - 1) // num_silos
    counts = np.array([0, 1, largest, -largest])
    total = ring_sum([encode_counts(counts, num_silos)] * num_silos)
    assert decode_counts(total).tolist() == (counts * num_silos).tolist()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("num_silos", [1, 3, 10])
def test_counts_that_could_overflow_the_sum_are_refused(num_silos, sign):
    count = sign * ((2**31 - 1) // num_silos + 1)
    with pytest.raises(SiloInputError, match=f"that {num_silos} silos can sum") as info:
        encode_counts(np.array([0, count]), num_silos)
    assert str(count) not in info.value.message


def test_no_counts_are_no_words():
    assert encode_counts(np.zeros(0, dtype=np.int64), 3).shape == (0,)


def test_a_bound_that_float32_rounds_upwards_is_still_the_bound():
    encoding = FixedPoint(0.1, 30)
    beyond = np.array([0.1, -0.1], np.float32)
    assert float(beyond[0]) > encoding.clip
    words, clipped = encoding.encode(beyond)
    assert words.view(np.int32).tolist() == [encoding.limit, -encoding.limit]
    assert clipped == 2
