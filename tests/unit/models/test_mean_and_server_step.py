import numpy as np
import pytest

from data_contracts.errors import NotFiniteError
from data_contracts.settings.training import ScheduleConfig, ServerOptimizerConfig
from models.fixed_point import signed
from models.learning_rate import round_learning_rate
from models.server_optimizers import ServerState, server_step
from models.weighted_mean import (
    LOSS_SCALE,
    Block,
    UpdateEncoding,
    WeightedMean,
)


def encoding_of(size: int, num_silos: int = 4) -> UpdateEncoding:
    return UpdateEncoding(32, num_silos, (Block(size, 4.0),))


def summed(encoding: UpdateEncoding, *updates: tuple) -> WeightedMean:
    """The mean of (delta, weight, loss) after a secure sum."""
    total = 0
    for delta, weight, loss in updates:
        words = encoding.encode(delta, weight, loss, dither=np.zeros).words
        total = total + words
    return encoding.decode(signed(total))


def test_the_decoded_mean_is_the_weighted_mean_within_half_a_step():
    generator = np.random.default_rng(0)
    deltas = generator.normal(size=(3, 1000)).astype(np.float32)
    weights, losses = np.array([0.2, 0.5, 0.3]), np.array([6.0, 5.0, 7.0])
    updates = zip(deltas, weights, losses, strict=True)
    mean = summed(encoding_of(1000, 3), *updates)
    assert mean.weight == pytest.approx(1.0, abs=1e-6)
    assert mean.loss == pytest.approx(weights @ losses, abs=1e-4)
    assert mean.clipped == 0
    assert np.abs(mean.update - weights @ deltas).max() < 3e-7


def test_a_missing_silo_leaves_the_mean_of_the_others():
    mean = summed(encoding_of(4), (np.full(4, 2.0, np.float32), 0.25, 6.0))
    assert mean.update == pytest.approx(np.full(4, 2.0), abs=1e-6)


def test_nobody_contributing_moves_nothing():
    mean = encoding_of(4).decode(np.zeros(7, np.int32))
    assert (mean.weight, mean.norm) == (0.0, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_never_encoded(bad):
    delta = np.array([0.0, bad], dtype=np.float32)
    with pytest.raises(NotFiniteError):
        encoding_of(2).encode(delta, 0.5, 1.0, dither=np.zeros)


def test_a_loss_that_is_no_number_is_never_encoded():
    with pytest.raises(NotFiniteError):
        encoding_of(3).encode(np.zeros(3, np.float32), 0.5, np.nan, dither=np.zeros)


def test_a_loss_beyond_the_scale_is_told_as_the_most_that_fits():
    mean = summed(encoding_of(3), (np.zeros(3, np.float32), 0.5, 1e9))
    assert mean.loss == pytest.approx(LOSS_SCALE / 0.5, rel=1e-6)


def test_a_silo_of_weight_zero_changes_nothing():
    update = np.full(3, 2.0, np.float32), 0.0, 6.0
    words = encoding_of(3).encode(*update, dither=np.zeros).words
    assert words.tolist() == [0] * 6


def test_clipped_coordinates_of_all_silos_are_summed():
    wild = np.array([100.0, -100.0, 0.0, 1.0], np.float32)
    mean = summed(encoding_of(4), (wild, 0.5, 1.0), (wild, 0.5, 1.0))
    assert mean.clipped == 4
    assert mean.update == pytest.approx([8.0, -8.0, 0.0, 1.0])


UPDATE = np.array([1.0, -2.0])
AFTER_TWO_STEPS = {
    "sgd": lambda c: 2 * c.learning_rate * UPDATE,
    "momentum": lambda c: c.learning_rate * (UPDATE + (c.momentum + 1) * UPDATE),
    # Steps of 1 + beta and of 1 + beta (1 + beta) updates.
    "nesterov": lambda c: (
        c.learning_rate * UPDATE * (2 + 2 * c.momentum + c.momentum**2)
    ),
}


@pytest.mark.parametrize("name", AFTER_TWO_STEPS)
def test_two_server_steps_follow_the_formula(name):
    config = ServerOptimizerConfig(name=name, learning_rate=0.5, momentum=0.8)
    state, moved = ServerState.fresh(2, config), np.zeros(2)
    for _ in range(2):
        change, state = server_step(UPDATE, state, config)
        moved += change
    assert moved == pytest.approx(AFTER_TWO_STEPS[name](config))


@pytest.mark.parametrize("name", ["adam", "yogi"])
def test_the_first_adaptive_step_is_algorithm_2_of_reddi_et_al(name):
    config = ServerOptimizerConfig(name=name, epsilon=1e-2)
    start, square = config.epsilon**2, UPDATE**2
    second = {
        "adam": 0.99 * start + 0.01 * square,
        "yogi": start - 0.01 * square * np.sign(start - square),
    }[name]
    change, state = server_step(UPDATE, ServerState.fresh(2, config), config)
    assert state.second == pytest.approx(second)
    assert change == pytest.approx(0.1 * UPDATE / (np.sqrt(second) + config.epsilon))


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "yogi"])
def test_every_server_optimizer_finds_the_bottom_of_a_bowl(name):
    rate = {"sgd": 0.3, "momentum": 0.05, "nesterov": 0.05}.get(name, 0.1)
    config = ServerOptimizerConfig(name=name, learning_rate=rate)
    x, state = np.array([3.0, -2.0]), None
    for _ in range(300):
        state = state or ServerState.fresh(2, config)
        change, state = server_step(-x, state, config)
        x = x + change
    assert np.abs(x).max() < 0.1


def test_the_learning_rate_warms_up_falls_and_is_cut():
    schedule = ScheduleConfig(rounds=10, warmup_rounds=2)
    course = [round_learning_rate(1.0, schedule, r, 0) for r in range(1, 11)]
    assert course[0] < course[1] < course[2]
    assert course[2:] == sorted(course[2:], reverse=True)
    assert min(course) > 0
    assert round_learning_rate(1.0, schedule, 5, 2) == pytest.approx(course[4] / 4)
