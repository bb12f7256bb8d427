"""From a tiny pass to the real run: figures that can be checked by eye."""

from __future__ import annotations

from dataclasses import replace

import pytest

from data_contracts.presets import PRESETS, merged
from data_contracts.run_config import FederatedTrainingConfig
from tasks.preflight.estimate import estimate_run, makespan, traffic
from tests.simulators.canary import canary_round

ROUNDS = 5


def config(**sections):
    bare = {
        "schedule": {"rounds": ROUNDS},
        "evaluation": {"baselines": False, "local_only": False, "pooled": False},
    }
    return FederatedTrainingConfig.model_validate(
        merged(merged(PRESETS["ml-100k"], bare), sections)
    )


def test_silos_that_take_turns_add_up_and_those_at_once_do_not():
    canary = canary_round(train_seconds=2.0, evaluate_seconds=1.0)
    alone = estimate_run(replace(canary, at_once=1), config())
    together = estimate_run(replace(canary, at_once=3), config())
    assert alone.round_seconds - together.round_seconds == pytest.approx(6.0)


def test_more_rounds_take_more_of_everything_that_grows_with_rounds():
    canary = canary_round()
    one = estimate_run(canary, config(schedule={"rounds": 1}))
    ten = estimate_run(canary, config(schedule={"rounds": 10}))
    assert ten.total_seconds - one.total_seconds == pytest.approx(9 * one.round_seconds)
    assert (ten.bytes_up, ten.bytes_down, ten.disk_bytes) == (
        10 * one.bytes_up,
        10 * one.bytes_down,
        10 * one.disk_bytes,
    )


def test_a_round_sends_what_its_record_will_say():
    """Up: what each silo sent; down: what the protocol sent, and a model for each."""
    canary = canary_round(bytes_up=1_000, bytes_down=50, parameters=100)
    assert traffic(canary, config()) == (ROUNDS * 3 * 1_000, ROUNDS * (50 + 3 * 400))


def test_a_narrow_ring_saves_bytes_from_the_second_round_on():
    canary = canary_round(bytes_up=1_000, words=200)
    wide, _ = traffic(canary, config())
    narrow, _ = traffic(canary, config(secure_aggregation={"ring_bits": 8}))
    assert wide - narrow == (ROUNDS - 1) * 3 * 200 * 3


def test_baselines_send_the_pairs_of_items_once():
    canary = canary_round(pairs=1_000_000)
    without, _ = traffic(replace(canary, pairs=0), config())
    with_pairs, _ = traffic(canary, config())
    assert with_pairs - without == 3 * 4 * 1_000_000


def test_training_alone_takes_as_many_rounds_again():
    canary = replace(
        canary_round(train_seconds=2.0, evaluate_seconds=1.0, metrics_seconds=0.0),
        at_once=3,
    )
    without = estimate_run(canary, config())
    alone = estimate_run(canary, config(evaluation={"local_only": True}))
    # Every silo trains and evaluates ROUNDS times, then its model meets the test.
    assert alone.after_seconds - without.after_seconds == pytest.approx(ROUNDS * 3 + 1)
    assert alone.memory_bytes > without.memory_bytes


def test_silos_warm_up_once_and_in_turns():
    cold, warm = canary_round(warm_up_seconds=2.0), canary_round()
    many = config(schedule={"rounds": 50})
    # Three silos, two at once.
    assert estimate_run(cold, many).total_seconds == pytest.approx(
        estimate_run(warm, many).total_seconds + 4.0
    )


def test_the_cost_is_the_price_of_the_time():
    canary = canary_round()
    free = estimate_run(canary, config())
    assert free.cost is None
    priced = estimate_run(canary, config(), price_per_hour=7.2)
    assert priced.cost == pytest.approx(priced.total_seconds * 7.2 / 3600)


def test_nobody_waits_where_all_have_their_turn_at_once():
    assert makespan([1.0, 5.0, 2.0], 3) == 5.0
    assert makespan([], 2) == 0.0
