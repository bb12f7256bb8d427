"""Flat vectors, histories, and recommenders that are counts."""

import numpy as np
import pytest
import torch

from data_contracts.settings.training import ScheduleConfig
from models.dropout import dropped
from models.learning_rate import round_learning_rate
from models.losses import full_cross_entropy
from models.parameters import ParameterLayout, vector_hash, write_vector
from models.recommenders.building import (
    build_recommender,
    history_scorer,
    initial_vector,
)
from models.recommenders.counting import LAG_WEIGHTS, SHRINKAGE, MarkovChain
from models.sequences import HELD_OUT_NOTHING, SequenceData, Window, right_padded
from tests.simulators.sequence_samples import TINY_MODEL, cycling_users

LAYOUT = ParameterLayout(("table", "bias", "scale"), ((2, 3), (3,), ()))
ITEMS = 20


def test_a_vector_is_the_tensors_one_after_the_other():
    tensors = LAYOUT.split(np.arange(10, dtype=np.float32))
    assert tensors["table"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["bias"].tolist() == [6, 7, 8]
    assert tensors["scale"].shape == ()
    assert LAYOUT.join(dict(reversed(tensors.items()))).tolist() == [*range(10)]


@pytest.mark.parametrize("size", [0, 9, 11])
def test_a_vector_of_another_length_is_refused(size):
    with pytest.raises(ValueError, match=rf"expected \[10\], got \[{size}\]"):
        LAYOUT.split(np.zeros(size, np.float32))


def test_tensors_of_another_model_are_refused():
    whole = LAYOUT.split(np.zeros(10, np.float32))
    turned = whole | {"table": np.zeros((3, 2), np.float32)}
    short = {name: whole[name] for name in ("table", "bias")}
    for misfit in (turned, short, whole | {"more": whole["bias"]}):
        with pytest.raises(ValueError, match="do not fit the layout"):
            LAYOUT.join(misfit)


def test_a_module_takes_no_vector_of_another_length():
    module = build_recommender(TINY_MODEL, ITEMS)
    with pytest.raises(AssertionError, match="differ in size"):
        write_vector(module, np.zeros(len(initial_vector(TINY_MODEL, ITEMS)) + 1))


def test_the_hash_is_that_of_the_little_endian_bytes_whatever_the_memory_order():
    vector = np.arange(6, dtype=np.float32)
    assert vector_hash(vector) == vector_hash(vector.astype(">f4"))
    assert vector_hash(np.repeat(vector, 2)[::2]) == vector_hash(vector)
    assert vector_hash(vector + 1) != vector_hash(vector)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert vector_hash(np.zeros(0, np.float32)) == empty


def test_the_first_model_depends_on_its_seed_alone():
    torch.manual_seed(5)
    one = initial_vector(TINY_MODEL, ITEMS)
    torch.manual_seed(6)
    assert np.array_equal(one, initial_vector(TINY_MODEL, ITEMS))
    other = TINY_MODEL.model_copy(update={"init_seed": 1})
    assert not np.array_equal(one, initial_vector(other, ITEMS))


def test_scores_see_the_last_items_of_a_history_only_and_no_dropout():
    module = build_recommender(TINY_MODEL, ITEMS).train()
    write_vector(module, initial_vector(TINY_MODEL, ITEMS))
    score = history_scorer(module, context=4)
    long = np.arange(10, dtype=np.int32)
    assert np.array_equal(score([long]), score([long[-4:]]))
    assert not np.allclose(score([long]), score([long[-3:]]))


HISTORIES = SequenceData(
    items=np.array([3, 1, 4, 1, 5, 9, 2], dtype=np.int32),
    offsets=np.array([0, 4, 4, 7]),
    train_end=np.array([2, 0, 1]),
    validation=np.array([2, -1, -1]),
    test=np.array([3, -1, 2]),
)


def test_histories_are_read_off_by_eye():
    assert HISTORIES.num_users == 3
    assert HISTORIES.num_examples == 1
    assert HISTORIES.training_items().tolist() == [3, 1, 5]
    assert HISTORIES.held_out_users(Window.VALIDATION).tolist() == [0]
    assert HISTORIES.held_out_users(Window.TEST).tolist() == [0, 2]
    history, target = HISTORIES.question(2, Window.TEST)
    assert (history.tolist(), target) == ([5, 9], 2)
    assert HISTORIES.targets(Window.VALIDATION)[1] == HELD_OUT_NOTHING


def test_a_silo_without_users_has_no_items():
    nobody = cycling_users(users=0, items=8, length=5)
    assert nobody.training_items().dtype == np.int32
    assert (len(nobody.training_items()), nobody.num_examples) == (0, 0)


def test_histories_are_padded_on_the_right():
    items, lengths = right_padded(
        [np.array([5, 6], np.int32), np.array([7], np.int32), np.array([], np.int32)]
    )
    assert items.tolist() == [[5, 6], [7, 0], [0, 0]]
    assert lengths.tolist() == [2, 1, 0]


def test_the_markov_chain_follows_its_formula():
    transitions = np.array([[0, 30, 0], [6, 0, 12], [0, 0, 0]])
    popularity = np.array([4, 3, 1])
    chain = MarkovChain.from_counts(transitions, popularity)
    shares = transitions / (transitions.sum(axis=1, keepdims=True) + SHRINKAGE)
    first, second, _ = LAG_WEIGHTS
    expected = first * shares[1] + second * shares[0] + 1e-3 * popularity / 8
    score = chain.score(np.array([0, 1], np.int32))
    assert score == pytest.approx(expected, rel=1e-6)
    assert chain.score(np.array([], np.int32)).argmax() == 0


def test_without_any_count_every_item_scores_alike():
    nothing = MarkovChain.from_counts(np.zeros((3, 3), int), np.zeros(3, int))
    assert nothing.score(np.array([2], np.int32)).tolist() == [0, 0, 0]


def test_gradients_of_bfloat16_products_stay_close_to_float32():
    torch.manual_seed(0)
    hidden = torch.randn(700, 16, requires_grad=True)
    table = torch.randn(60, 16, requires_grad=True)
    targets = torch.randint(60, (700,))
    exact, low = (
        torch.autograd.grad(
            full_cross_entropy(hidden, table, targets, dtype), (hidden, table)
        )
        for dtype in (torch.float32, torch.bfloat16)
    )
    for one, other in zip(exact, low, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert 0 < float((one - other).norm() / one.norm()) < 0.02


def test_the_gradient_scales_with_what_comes_after_the_loss():
    torch.manual_seed(0)
    hidden = torch.randn(5, 4, requires_grad=True)
    table, targets = torch.randn(6, 4), torch.randint(6, (5,))
    loss = full_cross_entropy(hidden, table, targets, torch.float32)
    once, thrice = (
        torch.autograd.grad(k * loss, hidden, retain_graph=True)[0] for k in (1, 3)
    )
    assert torch.allclose(thrice, 3 * once)


def test_large_scores_overflow_nothing():
    hidden, table = torch.full((2, 1), 1e3), torch.tensor([[1e3], [-1e3], [0.0]])
    targets = torch.tensor([0, 1])
    loss = full_cross_entropy(hidden, table, targets, torch.float32)
    assert loss.item() == pytest.approx(1e6)


def test_kept_elements_are_scaled_by_the_inverse_of_the_kept_share():
    torch.manual_seed(0)
    kept = dropped(torch.full((1000,), 2.0), 0.3, training=True)
    keep = round(0.7 * 256) / 256
    assert sorted(set(kept.tolist())) == pytest.approx([0.0, 2.0 / keep])


def test_elements_are_dropped_independently_of_their_neighbours():
    """Eight elements share one random number, each its own byte of it."""
    torch.manual_seed(0)
    kept = (dropped(torch.ones(80_000), 0.5, training=True) > 0).float().view(-1, 8)
    correlation = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlation.abs().max() < 5 / len(kept) ** 0.5


SCHEDULE = ScheduleConfig(rounds=4, warmup_rounds=0, decay="constant")


@pytest.mark.parametrize(
    ("schedule", "course"),
    [
        (SCHEDULE, [1, 1, 1, 1]),
        (SCHEDULE.model_copy(update={"warmup_rounds": 2}), [0.25, 0.75, 1, 1]),
        (
            SCHEDULE.model_copy(update={"warmup_rounds": 9}),
            [1 / 18, 1 / 6, 5 / 18, 7 / 18],
        ),
    ],
    ids=["constant", "warming up", "still warming up at the end"],
)
def test_the_course_of_the_learning_rate(schedule, course):
    rates = [round_learning_rate(1.0, schedule, r, 0) for r in range(1, 5)]
    assert rates == pytest.approx(course)
