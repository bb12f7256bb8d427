"""The training loop: a pure function of model, data, recipe and seed."""

import numpy as np
import pytest
import torch

from data_contracts.errors import NotFiniteError
from data_contracts.settings.training import LocalTrainingConfig
from models.parameters import read_vector, write_vector
from models.recommenders.building import build_recommender, initial_vector
from models.sequences import SequenceData
from tasks.local_training.trainer import (
    Limit,
    batch_loss,
    batches,
    product_dtype,
    steps_in_round,
    train,
    training_seed,
)
from tests.simulators.sequence_samples import TINY_MODEL, TINY_TRAINING, cycling_users

ITEMS = 20
DATA = cycling_users(users=30, items=ITEMS, length=9)
CPU = torch.device("cpu")


def recipe(**changes: object) -> LocalTrainingConfig:
    return TINY_TRAINING.model_copy(update=changes)


def trained(config=TINY_TRAINING, *, seed=1, data=DATA, start=None, rate=5e-3):
    """(loss of the last pass, parameters) after training from a fixed start."""
    module = build_recommender(TINY_MODEL, ITEMS)
    write_vector(module, initial_vector(TINY_MODEL, ITEMS) if start is None else start)
    loss = train(module, data, config, context=12, learning_rate=rate, seed=seed)
    return loss, read_vector(module)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    loss, vector = trained()
    torch.manual_seed(99)  # nothing that the process did before matters
    again, same = trained()
    assert loss == again
    assert vector.tobytes() == same.tobytes()
    assert trained(seed=2)[1].tobytes() != vector.tobytes()


def test_training_leaves_the_random_state_of_the_process_alone():
    before = torch.random.get_rng_state()
    trained()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_silo_round_and_run_has_a_seed_of_its_own():
    seeds = {
        training_seed(seed, silo, number)
        for seed in (0, 1)
        for silo in ("north", "south")
        for number in (1, 2, 12)
    }
    assert len(seeds) == 12
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert training_seed(0, "north", 1) == training_seed(0, "north", 1)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_the_loss_goes_down(optimizer):
    rate = {"sgd": 0.5}.get(optimizer, 5e-3)
    one, ten = (
        trained(recipe(optimizer=optimizer, epochs=epochs), rate=rate)[0]
        for epochs in (1, 10)
    )
    assert ten < 0.7 * one
    assert one == pytest.approx(np.log(ITEMS), rel=0.3)


def test_no_passes_change_nothing():
    loss, vector = trained(recipe(epochs=0))
    assert loss == 0.0
    assert np.array_equal(vector, initial_vector(TINY_MODEL, ITEMS))


def test_bfloat16_products_train_as_well_as_float32():
    losses = [trained(recipe(precision=p))[0] for p in ("float32", "bfloat16")]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_precision_is_what_was_asked_for(precision, dtype):
    assert product_dtype(recipe(precision=precision), CPU) is dtype


def test_automatic_precision_is_what_the_processor_multiplies_natively(monkeypatch):
    for native, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native
        )
        assert product_dtype(recipe(precision="auto"), CPU) is dtype


def test_a_gradient_is_clipped_before_the_step():
    """One step of plain SGD moves by at most rate times clip_norm."""
    one_step = recipe(optimizer="sgd", epochs=1, batch_size=100, clip_norm=1e-3)
    _, vector = trained(one_step, rate=1.0)
    moved = np.linalg.norm(vector - initial_vector(TINY_MODEL, ITEMS))
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_weight_decay_shrinks_the_item_table():
    plain, decayed = (
        trained(recipe(weight_decay=decay), rate=0.05)[1] for decay in (0.0, 1.0)
    )
    table = slice(0, ITEMS * TINY_MODEL.dim)
    assert np.linalg.norm(decayed[table]) < np.linalg.norm(plain[table])


def test_the_proximal_term_pulls_by_mu_times_the_distance_from_the_start():
    """FedProx, eq. 2, in two steps of plain SGD: the first has nothing to pull."""
    mu, rate = 0.4, 0.5

    def steps(number, strength):
        whole = recipe(optimizer="sgd", batch_size=100, epochs=number)
        pulled = whole.model_copy(update={"proximal_strength": strength})
        return trained(pulled, rate=rate)[1]

    first, second = steps(1, 0.0), steps(2, 0.0)
    away = first - initial_vector(TINY_MODEL, ITEMS)
    assert steps(1, mu).tobytes() == first.tobytes()
    assert steps(2, mu) - second == pytest.approx(-rate * mu * away, abs=1e-6)
    assert np.abs(steps(2, mu) - second).max() > 1e-4


def test_a_pull_keeps_a_silo_near_the_global_model():
    start = initial_vector(TINY_MODEL, ITEMS)
    far, near = (
        np.linalg.norm(trained(recipe(epochs=6, proximal_strength=mu))[1] - start)
        for mu in (0.0, 10.0)
    )
    assert near < 0.8 * far


def test_so_many_steps_are_a_part_of_all_passes():
    """30 users in batches of 8 are 4 steps a pass."""
    one_pass_only = trained(recipe(epochs=1))
    limited = trained(recipe(epochs=5, max_steps=4))
    assert limited[0] == one_pass_only[0]
    assert limited[1].tobytes() == one_pass_only[1].tobytes()
    assert trained(recipe(epochs=5, max_steps=5))[1].tobytes() != limited[1].tobytes()
    assert trained(recipe(epochs=1, max_steps=99))[0] == one_pass_only[0]


def test_no_step_begins_when_the_seconds_are_over_but_the_first():
    now = [100.0]
    limit = Limit(recipe(max_seconds=10.0), lambda: now[0])
    now[0] = 120.0
    assert not limit.reached()
    assert limit.fraction_after_step(0.1) == 1.0
    assert limit.reached()
    limit = Limit(recipe(max_seconds=10.0, max_steps=4), lambda: now[0])
    now[0] = 122.5
    assert limit.fraction_after_step(0.1) == 0.25
    assert limit.fraction_after_step(0.9) == 0.9
    assert not limit.reached()
    limit.fraction_after_step(0.9)
    limit.fraction_after_step(0.9)
    assert limit.reached()


def test_a_model_that_is_not_finite_is_given_up_at_the_first_batch():
    start = np.full_like(initial_vector(TINY_MODEL, ITEMS), np.nan)
    with pytest.raises(NotFiniteError, match=r"lower local_training\.learning_rate"):
        trained(start=start)


def test_the_loss_is_the_mean_over_every_real_next_item():
    """Against a softmax over the scores of each prefix by itself."""
    module = build_recommender(TINY_MODEL, ITEMS).eval()
    write_vector(module, initial_vector(TINY_MODEL, ITEMS))
    padded = torch.tensor([[3, 1, 4, 1], [5, 9, -1, -1]])
    questions = [([3], 1), ([3, 1], 4), ([3, 1, 4], 1), ([5], 9)]
    with torch.no_grad():
        nats = [
            -module.score(torch.tensor([history]), torch.tensor([len(history)]))
            .log_softmax(dim=1)[0, target]
            .item()
            for history, target in questions
        ]
        loss = batch_loss(module, padded, recipe(precision="float32")).item()
    assert loss == pytest.approx(np.mean(nats), rel=1e-5)


def one_pass(data, config, context=12):
    return [*batches(data, config, context, np.random.default_rng(0))]


def test_a_pass_reads_every_history_once_and_tells_how_far_it_is():
    passed = one_pass(DATA, recipe(batch_size=8))
    assert [done for done, _ in passed] == pytest.approx([8 / 30, 16 / 30, 24 / 30, 1])
    read = sorted(tuple(row.tolist()) for _, batch in passed for row in batch)
    assert read == sorted(tuple(DATA.training_history(u).tolist()) for u in range(30))


def test_users_with_nothing_to_predict_are_passed_over_and_padding_is_marked():
    n = np.full(3, -1)
    data = SequenceData(
        np.arange(6, dtype=np.int32), np.array([0, 1, 4, 6]), np.array([1, 3, 2]), n, n
    )
    ((_, batch),) = one_pass(data, recipe())
    assert sorted(batch.tolist()) == [[1, 2, 3], [4, 5, -1]]


def test_a_silo_without_training_items_has_no_batches():
    n = np.full(2, -1)
    data = SequenceData(
        np.arange(4, dtype=np.int32), np.array([0, 2, 4]), np.array([1, 0]), n, n
    )
    assert one_pass(data, recipe()) == []


@pytest.mark.parametrize(
    ("windows", "starts"), [("last", {6}), ("random", {0, 1, 2, 3, 4, 5, 6})]
)
def test_a_long_history_is_read_through_a_window(windows, starts):
    data = cycling_users(users=1, items=100, length=12)  # 10 of them train
    first = int(data.items[0])
    seen = set()
    order = np.random.default_rng(0)
    for _ in range(100):
        ((_, batch),) = batches(data, recipe(windows=windows), 3, order)
        begin = int(batch[0, 0])
        assert batch.tolist() == [[begin, begin + 1, begin + 2, begin + 3]]
        seen.add(begin - first)
    assert seen == starts


@pytest.mark.parametrize("length", [2, 5, 6, 7, 9, 14, 40])
def test_all_windows_make_every_item_but_the_first_a_target_once(length):
    data = cycling_users(users=1, items=100, length=length + 2)
    history = data.training_history(0).tolist()
    starts = set()
    order = np.random.default_rng(0)
    for _ in range(50):
        read = batches(data, recipe(windows="all", batch_size=2), 5, order)
        rows = [[i for i in row if i >= 0] for _, b in read for row in b.tolist()]
        assert [item for row in rows for item in row[1:]] == history[1:]
        assert max(map(len, rows)) <= 6
        starts.add(len(rows[0]))
    assert len(starts) == (5 if length > 6 else 1)


def test_batches_of_all_windows_are_full_but_the_last():
    data = cycling_users(users=7, items=100, length=30)
    sizes = [len(b) for _, b in one_pass(data, recipe(windows="all", batch_size=8))]
    assert set(sizes[:-1]) == {8}
    assert 0 < sizes[-1] <= 8


@pytest.mark.parametrize("windows", ["last", "all"])
def test_the_steps_of_a_round_are_foretold(windows):
    data = cycling_users(users=64, items=100, length=30)
    config = recipe(windows=windows, batch_size=8)
    order = np.random.default_rng(0)
    passes = [len([*batches(data, config, 7, order)]) for _ in range(20)]
    foretold = steps_in_round(data, config, 7) / config.epochs
    assert foretold == pytest.approx(np.mean(passes), rel=0.06)


def test_progress_rises_to_one():
    told: list[float] = []
    module = build_recommender(TINY_MODEL, ITEMS)
    write_vector(module, initial_vector(TINY_MODEL, ITEMS))
    train(
        module, DATA, recipe(epochs=2, batch_size=16), context=12, learning_rate=1e-3,
        seed=0, on_progress=told.append,
    )  # fmt: skip
    assert told == sorted(told)
    assert len(told) == 4
    assert told[-1] == 1.0
