"""Floats and counts as ring words."""

import numpy as np
import pytest

from data_contracts.errors import ConfigError, NotFiniteError, SiloInputError
from models.fixed_point import (
    RINGS,
    FixedPoint,
    decode_counts,
    encode_counts,
    limit_for,
    signed,
)


def ring_sum(vectors):
    """Add words as the coordinator does, and read the result as signed."""
    total = np.zeros_like(vectors[0])
    for words in vectors:
        total += words
    return signed(total).astype(np.int64)


@pytest.mark.parametrize("num_silos", [1, 2, 3, 5, 10, 100, 127])
@pytest.mark.parametrize("ring_bits", RINGS)
def test_the_limit_is_the_largest_whose_sum_cannot_overflow(num_silos, ring_bits):
    limit, largest = limit_for(num_silos, ring_bits), 2 ** (ring_bits - 1) - 1
    assert num_silos * limit <= largest < num_silos * (limit + 1)


@pytest.mark.parametrize("num_silos", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("ring_bits", RINGS)
@pytest.mark.parametrize("dither", [None, lambda k: np.full(k, np.nextafter(1.0, 0.0))])
def test_all_silos_at_the_clip_bound_do_not_overflow(
    num_silos, sign, ring_bits, dither
):
    point = FixedPoint.of(0.3, num_silos, ring_bits)
    words, clipped = point.encode(np.full(5, sign * 0.3), dither=dither)
    total = ring_sum([words] * num_silos)
    assert clipped == 0
    short_of_bound = num_silos * point.limit - sign * total
    assert short_of_bound.min() >= 0
    # Rounding at random may take up to one step of each.
    assert short_of_bound.max() <= (0 if dither is None else num_silos)


def test_one_step_more_than_allowed_would_overflow():
    point = FixedPoint(1.0, limit_for(5) + 1)
    words, _ = point.encode(np.ones(1))
    assert ring_sum([words] * 5)[0] < 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [0, 1, 32_768, 32_769, 100_003])
def test_decoding_gives_back_what_was_encoded_within_half_a_step(dtype, length):
    point = FixedPoint(4.0, 2**24)
    x = np.random.default_rng(0).uniform(-4, 4, length).astype(dtype)
    words, clipped = point.encode(x)
    assert (words.dtype, words.shape, clipped) == (np.uint32, (length,), 0)
    error = np.abs(point.decode(ring_sum([words])) - x)
    assert error.max(initial=0) <= 0.5 * point.resolution * (1 + 1e-9)


def test_small_values_are_read_off_by_eye():
    words, _ = FixedPoint(7.0, 7).encode(np.array([0.0, 1.0, -1.0, 2.4, 2.6, -7.0]))
    assert words.view(np.int32).tolist() == [0, 1, -1, 2, 3, -7]


def test_encoding_is_deterministic_and_leaves_its_input_alone():
    x = np.random.default_rng(1).normal(size=70_000)
    x.setflags(write=False)
    point = FixedPoint(1.0, 2**24)
    assert point.encode(x)[0].tobytes() == point.encode(x)[0].tobytes()


def test_clipped_coordinates_are_counted_and_held_at_the_bound():
    x = np.zeros(70_000)
    x[[0, 40_000, 69_999]] = 1.5, -9e300, 1e308
    x[1] = 1.0
    point = FixedPoint(1.0, 2**24)
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
        FixedPoint(1.0, 2**24).encode(x)


@pytest.mark.parametrize(
    ("clip", "limit", "ring_bits", "says"),
    [
        (0.0, 25, 32, "clip 0.0"),
        (-1.0, 25, 32, "clip -1.0"),
        (np.inf, 25, 32, "clip inf"),
        (1.0, 0, 32, "limit 0 must lie between 1 and 2147483647"),
        (1.0, 128, 8, "limit 128 must lie between 1 and 127"),
        (1.0, 1, 24, "ring_bits 24 must be one of"),
    ],
)
def test_impossible_encodings_are_refused(clip, limit, ring_bits, says):
    with pytest.raises(ConfigError, match=says):
        FixedPoint(clip, limit, ring_bits)


@pytest.mark.parametrize(
    ("num_silos", "ring_bits"), [(0, 32), (-1, 32), (2**31, 32), (128, 8), (2**15, 16)]
)
def test_an_impossible_number_of_silos_is_refused(num_silos, ring_bits):
    with pytest.raises(ConfigError, match="num_silos"):
        limit_for(num_silos, ring_bits)


def test_a_scale_is_as_good_as_scaling_first():
    x = np.random.default_rng(0).normal(size=70_000)
    point = FixedPoint(1.0, 2**20)
    one, clipped = point.encode(x, scale=0.5)
    other, as_many = point.encode(0.5 * x)
    assert one.tolist() == other.tolist()
    assert 0 < clipped == as_many


def test_words_go_where_they_are_told(tmp_path):
    x = np.random.default_rng(0).normal(size=70_000)
    point = FixedPoint(4.0, 2**20)
    room = np.memmap(tmp_path / "words", "<u4", "w+", shape=x.shape)
    assert point.encode(x, out=room)[0] is room
    room.flush()
    assert (tmp_path / "words").read_bytes() == point.encode(x)[0].tobytes()


@pytest.mark.parametrize("ring_bits", [8, 16])
def test_rounding_at_random_has_no_bias_where_rounding_to_the_nearest_has(ring_bits):
    """Coordinates far below one step: 0.05, 0.15, ... 0.95 of it."""
    point = FixedPoint.of(1.0, 10, ring_bits)
    steps = np.tile(np.arange(0.05, 1, 0.1), 200_000)
    x = steps * point.resolution
    random = np.random.default_rng(0).random
    at_random = point.decode(signed(point.encode(x, dither=random)[0]))
    nearest = point.decode(signed(point.encode(x)[0]))
    slopes = [(x @ decoded) / (x @ x) for decoded in (at_random, nearest)]
    assert abs(slopes[0] - 1) < 1e-3 < abs(slopes[1] - 1)
    assert np.abs(at_random - x).max() < point.resolution


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
    encoding = FixedPoint(0.1, 2**29)
    beyond = np.array([0.1, -0.1], np.float32)
    assert float(beyond[0]) > encoding.clip
    words, clipped = encoding.encode(beyond)
    assert words.view(np.int32).tolist() == [encoding.limit, -encoding.limit]
    assert clipped == 2
