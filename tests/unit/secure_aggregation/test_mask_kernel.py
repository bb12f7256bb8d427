"""Masks on ranges, lengths and signs; and that masked words look like nothing."""

import numpy as np
import pytest

from tasks.secure_aggregation import running_sum
from tasks.secure_aggregation.masking import Mask, apply_masks, pairwise
from tasks.secure_aggregation.running_sum import RunningSum
from tasks.secure_aggregation.server import Server
from tests.simulators.deterministic_bytes import deterministic_bytes
from tests.simulators.secure_round import (
    SecureRound,
    integer_sum,
    random_inputs,
    terms_for,
)

CHUNK = 65_536
LENGTHS = [0, 1, 3, 4, 5, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7]


def masks(count: int) -> list[Mask]:
    random_bytes = deterministic_bytes("masks")
    return [Mask(random_bytes(32), subtract=bool(i % 2)) for i in range(count)]


def masked(length: int, count: int = 3, start: int = 0) -> np.ndarray:
    words = np.zeros(length, dtype=np.uint32)
    apply_masks(words, masks(count), start=start)
    return words


@pytest.mark.parametrize("length", LENGTHS)
def test_opposite_masks_restore_any_length(length):
    words = np.arange(length, dtype=np.uint32)
    apply_masks(words, masks(3))
    apply_masks(words, [mask.opposite() for mask in masks(3)])
    assert words.tolist() == list(range(length))


@pytest.mark.parametrize("length", LENGTHS)
def test_a_shorter_vector_has_the_same_first_words(length):
    assert masked(length).tolist() == masked(4 * CHUNK)[:length].tolist()


@pytest.mark.parametrize(
    "start", [0, 1, 2, 3, 4, 5, 1023, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3]
)
@pytest.mark.parametrize("length", [0, 1, 2, 7, CHUNK + 5])
def test_a_range_masked_alone_equals_that_part_of_the_whole(start, length):
    whole = masked(4 * CHUNK)[start : start + length]
    assert masked(length, start=start).tolist() == whole.tolist()


def test_ranges_may_be_masked_in_any_order_and_in_place():
    words = np.zeros(2 * CHUNK + 9, dtype=np.uint32)
    for lo, hi in [(100_001, words.size), (0, 7), (7, 100_001)]:
        apply_masks(words[lo:hi], masks(3), start=lo)
    assert words.tolist() == masked(words.size).tolist()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("kept", [0, 9_000_000, 2**30])
def test_a_sum_is_the_same_however_much_of_it_is_kept(
    kept, count, threads, monkeypatch
):
    monkeypatch.setattr(running_sum, "KEPT_BYTES", kept)
    generator = np.random.default_rng(0)
    vectors = [
        generator.integers(0, 2**32, 10 * CHUNK + 7, dtype=np.uint32)
        for _ in range(count)
    ]
    for vector in vectors:
        vector.setflags(write=False)
    summed = RunningSum()
    for vector in vectors:
        summed.add(vector)
    expected = masked(10 * CHUNK + 7)
    for vector in vectors:
        expected += vector
    assert summed.take(masks(3), threads=threads).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="nothing was added"):
        summed.take()


@pytest.mark.parametrize("width", [1, 2, 4])
def test_every_ring_reads_the_same_keystream(width):
    words = np.zeros(CHUNK, dtype=f"u{width}")
    apply_masks(words, masks(1))
    assert words.tobytes() == masked(CHUNK * width // 4, count=1).tobytes()
    part = np.zeros(100, dtype=f"u{width}")
    apply_masks(part, masks(1), start=12_345)
    assert part.tolist() == words[12_345:12_445].tolist()


@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("length", [5, 2**19, 2**20 + 13, 3 * 2**20 + 1])
def test_threads_change_no_bit(threads, length):
    words = np.zeros(length, dtype=np.uint32)
    apply_masks(words, masks(3), start=3, threads=threads)
    assert words.tobytes() == masked(length, start=3).tobytes()


def test_a_vector_in_a_file_is_masked_where_it_lies(tmp_path):
    path = tmp_path / "words"
    room = np.memmap(path, "<u4", "w+", shape=(3 * CHUNK,))
    apply_masks(room, masks(3), threads=2)
    room.flush()
    assert path.read_bytes() == masked(3 * CHUNK).tobytes()


def test_counters_beyond_32_bits_still_give_distinct_words():
    far = 4 * 2**40
    assert masked(8, start=far).tolist() != masked(8).tolist()
    assert masked(8, start=far)[4:].tolist() == masked(4, start=far + 4).tolist()


@pytest.mark.parametrize(("seat", "other"), [(1, 2), (2, 7)])
def test_the_two_ends_of_a_pair_cancel(seat, other):
    key, words = bytes(32), np.arange(10, dtype=np.uint32)
    apply_masks(words, [pairwise(key, seat, other), pairwise(key, other, seat)])
    assert words.tolist() == list(range(10))


def uploads(seed: str) -> list[np.ndarray]:
    """What the coordinator sees when three silos upload the same constant."""
    round_ = SecureRound(
        terms_for(3),
        {f"silo-{i}": np.full(60_000, 7, dtype=np.uint32) for i in (1, 2, 3)},
        seed=seed,
    )
    round_.upload(round_.share(round_.advertise()))
    return list(round_.uploads.values())


def byte_statistic(words: np.ndarray, byte: int) -> float:
    """Chi-square of one byte of every word against uniform; 255 degrees."""
    observed = np.bincount((words >> (8 * byte)) & 255, minlength=256)
    expected = words.size / 256
    return float(((observed - expected) ** 2 / expected).sum())


# 99.999 % of a chi-square with 255 degrees of freedom lies below 360.
@pytest.mark.parametrize("byte", range(4))
def test_masked_words_are_uniform_in_every_byte(byte):
    for words in uploads("uniform"):
        assert byte_statistic(words, byte) < 360


@pytest.mark.parametrize("bits", [31, 28, 24])
def test_the_uniformity_test_sees_masks_that_are_too_narrow(bits, monkeypatch):
    def narrow(words, masks, *, start=0, threads=1):
        noise = np.zeros_like(words)
        apply_masks(noise, masks, start=start)
        words += noise & np.uint32(2**bits - 1)

    monkeypatch.setattr("tasks.secure_aggregation.client.apply_masks", narrow)
    assert max(byte_statistic(words, 3) for words in uploads("uniform")) > 1000


def test_the_same_input_in_two_attempts_shares_no_more_words_than_chance():
    first, second = uploads("one"), uploads("two")
    equal = sum(int((a == b).sum()) for a, b in zip(first, second, strict=True))
    assert equal <= 2
    again = uploads("one")
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_an_upload_depends_on_the_input_only_by_addition():
    inputs = random_inputs(3, 100)
    a = SecureRound(terms_for(3), inputs)
    a.run()
    b = SecureRound(terms_for(3), {s: np.zeros(100, np.uint32) for s in inputs})
    b.run()
    for silo, words in inputs.items():
        assert (a.uploads[silo] - b.uploads[silo]).tolist() == words.tolist()


class Mapped(SecureRound):
    """Inputs and the sum lie in files: nothing of the size of the vector in memory."""

    def _masked(self, silo, delivery):
        return self.clients[silo].mask_input(delivery, self.inputs[silo])


def test_a_whole_round_over_files_that_are_mapped_into_memory(tmp_path):
    plain, rooms = random_inputs(4, 200_000), []

    def room(shape, dtype, name="sum"):
        rooms.append(name)
        return np.memmap(tmp_path / name, dtype, "w+", shape=shape)

    inputs = {}
    for silo, words in plain.items():
        inputs[silo] = room(words.shape, words.dtype, silo)
        inputs[silo][:] = words
    round_ = Mapped(terms_for(4), inputs)
    round_.server = Server(round_.terms, room=room, threads=2)
    round_.gone = {("silo-3", "MaskedInput")}
    total = round_.run()
    del plain["silo-3"]
    assert total.tolist() == integer_sum(plain)
    assert rooms == [*inputs, "sum"]
    total.base.flush()
    assert (tmp_path / "sum").read_bytes() == total.tobytes()
    assert (tmp_path / "silo-1").read_bytes() != plain["silo-1"].tobytes()
