"""Work in pieces gives the bits of work on the whole, and takes no further vector."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.settings.training import ServerOptimizerConfig
from models.chunks import CHUNK, chunks
from models.fixed_point import FixedPoint, signed
from models.global_model import fresh_model, moved
from models.server_optimizers import ServerState, server_step, step_in_pieces
from models.weighted_mean import Block, UpdateEncoding
from tasks.secure_aggregation import running_sum
from tasks.secure_aggregation.masking import Mask
from tasks.secure_aggregation.running_sum import RunningSum

BORDERS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3]
OPTIMIZERS = ["sgd", "momentum", "nesterov", "adam", "yogi"]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9))
def test_pieces_cover_a_range_in_order_without_gaps(start, length, size):
    found = list(chunks(start + length, start=start, size=size))
    covered = [place for piece in found for place in range(piece.start, piece.stop)]
    assert covered == list(range(start, start + length))
    assert all(0 < piece.stop - piece.start <= size for piece in found)


@pytest.mark.parametrize("ring_bits", [8, 16])
@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(BORDERS), min_size=1, max_size=3))
def test_what_rounding_took_is_the_same_as_of_the_whole(ring_bits, sizes):
    blocks = tuple(Block(n, 0.1 * (place + 1)) for place, n in enumerate(sizes))
    encoding = UpdateEncoding(ring_bits, 5, blocks)
    generator = np.random.default_rng(0)
    update = generator.normal(0, 0.2, sum(sizes)).astype(np.float32)
    carried = generator.normal(0, 0.01, sum(sizes)).astype(np.float32)
    encoded = encoding.encode(
        update, 0.3, 1.0, dither=np.random.default_rng(1).random, carried=carried
    )
    weighted = update * np.float32(0.3) + carried
    starts = np.cumsum([0, *sizes])
    rounded = [
        FixedPoint.of(block.clip, 5, ring_bits).decode(
            signed(encoded.words[start : start + block.size])
        )
        for block, start in zip(blocks, starts, strict=False)
    ]
    error = (weighted - np.concatenate(rounded)).astype(np.float32)
    assert encoded.error.tobytes() == error.tobytes()
    mean = encoding.decode(signed(encoded.words))
    whole = np.concatenate(rounded)
    whole *= 1.0 / mean.weight
    assert mean.update.tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("length", BORDERS)
def test_a_server_step_in_pieces_is_the_step_of_the_whole(name, length):
    config = ServerOptimizerConfig(name=name, learning_rate=0.7)
    generator = np.random.default_rng(2)
    vector = generator.normal(size=length).astype(np.float32)
    pieces = whole = ServerState.fresh(length, config)
    expected = vector
    for _ in range(3):
        update = generator.normal(size=length)
        change, whole = server_step(update, whole, config)
        expected = (expected + change).astype(np.float32)
        vector, pieces = step_in_pieces(vector, update, pieces, config)
    assert vector.tobytes() == expected.tobytes()
    for moment in ("first", "second"):
        assert getattr(pieces, moment).tobytes() == getattr(whole, moment).tobytes()


def test_a_step_leaves_the_state_before_it_as_it_was():
    config = ServerOptimizerConfig(name="adam")
    model = moved(fresh_model(np.zeros(3, np.float32), config), np.ones(3), config)
    before = model.server_state.first.copy()
    moved(model, np.ones(3), config)
    assert model.server_state.first.tolist() == before.tolist()


def most_memory(work) -> int:
    """Bytes allocated at the worst moment of `work`."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LARGE = 20_000_000
SLACK = 8 * 2**20


@pytest.mark.slow
def test_a_sum_needs_one_vector_and_the_upload_that_arrives(monkeypatch):
    monkeypatch.setattr(running_sum, "KEPT_BYTES", 2**20)
    masks = [Mask(bytes([place]) * 32, subtract=True) for place in range(4)]

    def work() -> None:
        summed = RunningSum()
        for place in range(5):
            summed.add(np.full(LARGE, place, np.uint32))
        summed.take(masks, threads=2)

    assert most_memory(work) <= 2 * 4 * LARGE + SLACK


@pytest.mark.slow
@pytest.mark.parametrize(("ring_bits", "beside"), [(32, 0), (16, 4), (8, 4)])
def test_encoding_needs_the_words_and_in_narrow_rings_the_error(ring_bits, beside):
    update = np.ones(LARGE, np.float32)
    encoding = UpdateEncoding(ring_bits, 5, (Block(LARGE, 4.0),))
    dither = np.random.default_rng(0).random
    taken = most_memory(lambda: encoding.encode(update, 0.2, 1.0, dither=dither))
    assert taken <= (ring_bits // 8 + beside) * LARGE + SLACK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moments"), [("sgd", 0), ("momentum", 1), ("adam", 2)]
)
def test_a_step_needs_the_mean_the_model_and_the_moments_that_move(name, moments):
    config = ServerOptimizerConfig(name=name)
    encoding = UpdateEncoding(32, 5, (Block(LARGE // 2, 4.0), Block(LARGE // 2, 1.0)))
    total = np.ones(encoding.length, np.int32)
    model = fresh_model(np.ones(LARGE, np.float32), config)
    taken = most_memory(lambda: moved(model, encoding.decode(total).update, config))
    assert taken <= (8 + 4 + 8 * moments) * LARGE + 4 * SLACK
