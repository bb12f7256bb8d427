"""Epsilon is never too small and hardly too large; what fits is found."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant
from scipy.stats import norm

from data_contracts.errors import PrivacyBudgetError
from data_contracts.privacy_events import GaussianEvent
from models.privacy.accounting import (
    Spent,
    epsilon,
    noise_multiplier_for,
    steps_that_fit,
)
from models.privacy.loss_distribution import GRID_STEP, both_directions
from tests.vectors.generate_epsilons import PATH

ROWS = json.loads(PATH.read_text(encoding="utf-8"))


def test_every_epsilon_of_dp_accounting_is_met_and_never_undercut():
    ours = [epsilon([GaussianEvent(*e) for e in r["events"]], r["delta"]) for r in ROWS]
    above = np.array(ours) - [row["epsilon"] for row in ROWS]
    assert len(above) > 80
    # Theirs is an upper bound on a finer grid: both round, neither may be beaten.
    assert above.min() > -1e-4
    assert above.max() < 0.02


def exact_delta(noise, eps):
    """Of one Gaussian release (Balle & Wang 2018, theorem 8)."""
    mu = 1 / noise
    return norm.cdf(mu / 2 - eps / mu) - np.exp(eps) * norm.cdf(-mu / 2 - eps / mu)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.4, 50.0), st.floats(-9.0, -3.0))
def test_one_release_costs_what_the_closed_form_says(noise, exponent):
    delta = 10**exponent
    ours = epsilon([GaussianEvent(noise, 1.0, 1)], delta)
    assert exact_delta(noise, ours) <= delta * (1 + 1e-6)
    if ours > 0.01:
        assert exact_delta(noise, ours - 0.01) > delta


def test_opacus_agrees():
    events = [(1.0, 0.01, 1000), (2.0, 0.1, 50)]
    accountant = PRVAccountant()
    accountant.history = events
    theirs = accountant.get_epsilon(1e-5)  # at most 0.01 too large
    ours = epsilon([GaussianEvent(*event) for event in events], 1e-5)
    assert -1e-3 < theirs - ours < 0.02


@pytest.mark.parametrize("kind", [(0.7, 0.3), (2.0, 0.01), (1.5, 1.0)])
def test_masses_of_both_distributions_are_kept(kind):
    """Connecting the dots moves no mass of P or of Q, only spreads it."""
    for direction in both_directions(*kind):
        of_q = (direction.masses * np.exp(-direction.losses)).sum()
        assert direction.masses.sum() + direction.infinite == pytest.approx(
            1, abs=1e-12
        )
        assert of_q == pytest.approx(1, abs=1e-9)
        assert np.diff(direction.losses) == pytest.approx(GRID_STEP, rel=1e-6)


def test_events_of_one_kind_are_one_event():
    parts = [GaussianEvent(1.3, 0.1, n) for n in (10, 20, 30)]
    whole = [GaussianEvent(1.3, 0.1, 60)]
    assert epsilon(parts, 1e-6) == epsilon(whole, 1e-6)


def test_what_was_spent_can_be_added_to():
    first, second = GaussianEvent(1.3, 0.1, 60), GaussianEvent(5.0, 1.0, 1)
    together = epsilon([first, second], 1e-6)
    assert Spent([first]).epsilon(1e-6, [second]) == pytest.approx(together, abs=1e-6)


def test_nothing_costs_nothing():
    assert epsilon([], 1e-6) == 0.0
    assert epsilon([GaussianEvent(1.0, 0.1, 0)], 1e-6) == 0.0


def test_fifty_two_retrainings_share_eight():
    """100,000 users, batches of 4096, 300 steps a run, weekly for a year."""
    noise = noise_multiplier_for(
        8.0, 1e-6, sampling_probability=4096 / 1e5, steps=52 * 300
    )
    assert noise == pytest.approx(3.43, abs=0.05)


@settings(deadline=None, max_examples=6)
@given(st.floats(0.5, 10.0), st.sampled_from([0.01, 0.17, 1.0]), st.integers(1, 300))
def test_the_noise_is_enough_and_not_too_much(target, q, steps):
    spent = Spent([GaussianEvent(20.0, 1.0, 1)])
    noise = noise_multiplier_for(
        target, 1e-5, sampling_probability=q, steps=steps, spent=spent
    )
    assert spent.epsilon(1e-5, [GaussianEvent(noise, q, steps)]) <= target
    if noise > 0.31:
        less = GaussianEvent(noise / 1.002, q, steps)
        assert spent.epsilon(1e-5, [less]) > target


def test_no_noise_is_enough_when_all_is_spent():
    spent = Spent([GaussianEvent(0.5, 1.0, 1)])
    with pytest.raises(PrivacyBudgetError, match="the budget is spent"):
        noise_multiplier_for(1.0, 1e-5, sampling_probability=0.1, steps=10, spent=spent)


def test_the_most_steps_that_fit():
    steps = steps_that_fit(2.0, 1e-5, noise_multiplier=1.0, sampling_probability=0.01)
    cost = [epsilon([GaussianEvent(1.0, 0.01, n)], 1e-5) for n in (steps, steps + 1)]
    assert cost[0] <= 2.0 < cost[1]
    spent = Spent([GaussianEvent(0.5, 1.0, 1)])
    assert (
        steps_that_fit(
            2.0, 1e-5, noise_multiplier=1.0, sampling_probability=0.01, spent=spent
        )
        == 0
    )


@pytest.mark.parametrize(
    "event",
    [(0.0, 0.1, 1), (np.inf, 0.1, 1), (1.0, 0.0, 1), (1.0, 1.1, 1), (1.0, 0.1, -1)],
)
def test_events_that_mean_nothing_are_refused(event):
    with pytest.raises(ValueError, match="must"):
        GaussianEvent(*event)


def test_what_hides_nothing_costs_infinitely_much():
    assert epsilon([GaussianEvent(0.3, 1.0, 1000)], 1e-5) == np.inf
