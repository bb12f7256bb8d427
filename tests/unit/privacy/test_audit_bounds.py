"""What a training with canaries proves: known values, and truth on known noise."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from models.privacy.audit_bounds import ceiling, certified_bounds, gaussian_estimate

DELTA = 1e-5


@pytest.mark.parametrize(
    ("canaries", "one_run", "f_dp"),
    [(100, 3.5, 5.8), (300, 4.6, 7.9), (1000, 5.8, 9.9), (3000, 6.8, 11.7)],
)
def test_no_audit_proves_more_than_its_canaries_allow(canaries, one_run, f_dp):
    """Ceilings where every guess is right (Steinke et al. 2023, Mahloujifar 2024).

    Ours try many numbers of guesses at once and pay for it, so they lie a little lower.
    """
    most = ceiling(canaries, DELTA, 0.05)
    assert one_run - 1.3 < most.one_run <= one_run + 0.15
    assert f_dp - 1.6 < most.f_dp <= f_dp + 0.15


def scores_of(mu, canaries, seed):
    draw = np.random.default_rng(seed)
    joined = draw.random(canaries) < 0.5
    return draw.normal(0, 1, canaries) + mu * joined, joined


def mu_of(epsilon):
    """Of the Gaussian mechanism with this epsilon (Balle & Wang 2018, theorem 8)."""

    def excess(mu):
        inside = norm.cdf(mu / 2 - epsilon / mu)
        return inside - np.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - DELTA

    return brentq(excess, 0.01, 10)


@pytest.mark.parametrize("epsilon", [1.0, 3.0, 8.0])
def test_a_gaussian_mechanism_is_never_accused_and_closely_estimated(epsilon):
    mu = mu_of(epsilon)
    for seed in range(3):
        scores, joined = scores_of(mu, 3000, seed)
        bounds = certified_bounds(scores, joined, DELTA, 0.05)
        told = gaussian_estimate(
            scores, joined, DELTA, 0.05, np.random.default_rng(seed)
        )
        assert max(bounds.one_run, bounds.f_dp) <= epsilon
        assert told.low <= epsilon * 1.1
        assert told.high >= epsilon * 0.9
        assert told.epsilon == pytest.approx(epsilon, rel=0.3)


def test_canaries_that_show_nothing_prove_nothing():
    scores, joined = scores_of(0.0, 2000, 5)
    bounds = certified_bounds(scores, joined, DELTA, 0.05)
    assert max(bounds.one_run, bounds.f_dp) < 0.2
    told = gaussian_estimate(scores, joined, DELTA, 0.05, np.random.default_rng(0))
    assert told.epsilon < 0.5


def test_canaries_that_show_everything_prove_the_ceiling():
    draw = np.random.default_rng(1)
    joined = draw.random(1000) < 0.5
    bounds = certified_bounds(joined * 1.0, joined, DELTA, 0.05)
    most = ceiling(1000, DELTA, 0.05)
    assert max(bounds.one_run, bounds.f_dp) > 0.85 * most.best
