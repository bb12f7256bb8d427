"""The discrete Gaussian is exact, has its scale and no other, and no seed."""

import math
import secrets
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from models.privacy.integer_noise import (
    KEY_BYTES,
    LARGEST_EXPONENT,
    Keystream,
    bernoulli_exp,
    discrete_gaussian,
)
from tests.simulators.noise_checks import (
    ENOUGH,
    FALSE_ALARM,
    is_noise_of,
    shape_fits,
    variance_fits,
)


def fresh() -> Keystream:
    return Keystream(secrets.token_bytes)


def frequencies_fit(draws, probabilities) -> bool:
    """Chi-square test of counts; whatever else was drawn is one more cell."""
    cells = [value for value, p in probabilities.items() if p * draws.size >= 10]
    seen = [int(np.sum(draws == value)) for value in cells]
    expected = [probabilities[value] * draws.size for value in cells]
    seen.append(draws.size - sum(seen))
    expected.append(draws.size - sum(expected))
    return stats.chisquare(seen, expected).pvalue > FALSE_ALARM


def discrete_gaussian_probabilities(scale: float) -> dict[int, float]:
    reach = range(-math.ceil(12 * scale), math.ceil(12 * scale) + 1)
    weights = {value: math.exp(-(value**2) / (2 * scale**2)) for value in reach}
    total = sum(weights.values())
    return {value: weight / total for value, weight in weights.items()}


@pytest.mark.parametrize("exponent", [0, 1, 3])
def test_every_small_integer_comes_as_often_as_it_must(exponent):
    draws = discrete_gaussian(200_000, exponent, fresh())
    assert frequencies_fit(draws, discrete_gaussian_probabilities(2.0**exponent))


def test_the_frequencies_reject_a_scale_that_is_ten_percent_off():
    draws = discrete_gaussian(200_000, 1, fresh())
    assert not frequencies_fit(draws, discrete_gaussian_probabilities(2.2))
    assert not frequencies_fit(draws, discrete_gaussian_probabilities(1.8))


@pytest.mark.parametrize("exponent", [8, 16, LARGEST_EXPONENT])
def test_large_scales_pass_as_normal_noise_and_wrong_ones_are_rejected(exponent):
    draws, scale = discrete_gaussian(ENOUGH, exponent, fresh()), 2.0**exponent
    assert is_noise_of(draws, scale)
    for wrong in (0.9 * scale, 1.1 * scale):
        assert not variance_fits(draws, wrong)
        assert not shape_fits(draws, wrong)


@pytest.mark.parametrize(
    ("numerator", "bits"), [(0, 3), (1, 3), (5, 3), (8, 3), (9, 3), (40, 3), (1, 0)]
)
def test_a_trial_succeeds_with_probability_exp_minus_the_fraction(numerator, bits):
    trials = 100_000
    hits = bernoulli_exp(np.full(trials, numerator), bits, fresh()).sum()
    expected = math.exp(-numerator / 2**bits)
    assert stats.binomtest(int(hits), trials, expected).pvalue > FALSE_ALARM


def test_trials_of_different_probability_do_not_mix():
    numerators = np.tile([0, 2**40, 2**62], 10_000)
    hits = bernoulli_exp(numerators, 20, fresh()).reshape(-1, 3)
    assert hits[:, 0].all()
    assert not hits[:, 1:].any()


@pytest.mark.parametrize("number", [1, 2, 3, 7, 1000])
def test_one_in_so_many(number):
    hits = fresh().one_in(100_000, number).sum()
    assert stats.binomtest(int(hits), 100_000, 1 / number).pvalue > FALSE_ALARM


def test_uniform_words_use_every_bit():
    words = fresh().words(100_000)
    ones = [int(((words >> np.uint64(bit)) & np.uint64(1)).sum()) for bit in range(64)]
    assert all(stats.binomtest(n, 100_000).pvalue > FALSE_ALARM for n in ones)
    assert fresh().bits(1000, 5).max() == 31
    assert fresh().bits(1000, 0).tolist() == [0] * 1000
    steps = fresh().unit_interval(1000) * 2**53
    assert (steps == np.floor(steps)).all()
    assert 0 <= steps.min() < steps.max() < 2**53


def test_the_accepted_part_of_a_proposal_is_the_gaussian_exactly():
    """Algorithm 3 in exact fractions of the exponents: both weights are the same."""
    for exponent in (0, 3):
        scale = 2**exponent
        for value in range(-5 * scale, 5 * scale + 1):
            laplace = Fraction(abs(value), scale)
            accepted = Fraction((abs(value) - scale) ** 2, 2 * scale**2)
            gaussian = Fraction(value**2, 2 * scale**2)
            assert laplace + accepted == gaussian + Fraction(1, 2)


@pytest.mark.parametrize("count", [0, 1, 32_767, 32_768, 70_001])
def test_as_many_numbers_as_asked_for(count):
    draws = discrete_gaussian(count, 6, fresh())
    assert (draws.size, draws.dtype) == (count, np.int64)


def test_two_vectors_share_nothing():
    first, second = (discrete_gaussian(ENOUGH, 10, fresh()) for _ in range(2))
    assert np.mean(first == second) < 0.01
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(ENOUGH)
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 5 / math.sqrt(ENOUGH)


def test_nothing_but_the_given_bytes_decides():
    """A known key gives known noise: the only randomness is what was handed in."""
    first, second = (
        discrete_gaussian(1000, 10, Keystream(lambda n: bytes(n))) for _ in range(2)
    )
    assert first.tolist() == second.tolist()


def test_public_seeds_change_nothing():
    drawn = []
    for _ in range(2):
        np.random.seed(0)
        drawn.append(discrete_gaussian(100, 10, fresh()).tolist())
    assert drawn[0] != drawn[1]


def test_a_short_key_and_an_impossible_scale_are_refused():
    with pytest.raises(ValueError, match="a key has 32 bytes, got 31"):
        Keystream(lambda n: bytes(n - 1))
    with pytest.raises(ValueError, match="exponent 25 must lie between 0 and 24"):
        discrete_gaussian(1, LARGEST_EXPONENT + 1, fresh())
    assert KEY_BYTES == 32
