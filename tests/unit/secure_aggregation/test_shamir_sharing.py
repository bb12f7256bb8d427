"""t shares give the secret, t - 1 say nothing."""

from itertools import combinations

import numpy as np
import pytest

from tasks.secure_aggregation import shamir
from tasks.secure_aggregation.shamir import PRIME, combine, split
from tests.simulators.deterministic_bytes import deterministic_bytes

SECRETS = [bytes(32), b"\xff" * 32, bytes(range(32))]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(("threshold", "seats"), [(1, 1), (2, 2), (3, 3), (4, 5)])
def test_every_choice_of_t_shares_gives_the_secret(secret, threshold, seats):
    places = range(1, seats + 1)
    shares = split(secret, threshold, places, deterministic_bytes("shamir"))
    for chosen in combinations(zip(places, shares, strict=True), threshold):
        assert combine(dict(chosen)) == secret


def test_seats_need_not_be_consecutive_and_more_than_t_shares_agree():
    seats = [2, 7, 30, 1000]
    shares = split(SECRETS[2], 2, seats, deterministic_bytes("gaps"))
    assert combine(dict(zip(seats, shares, strict=True))) == SECRETS[2]


def test_one_share_too_few_gives_another_secret():
    shares = split(SECRETS[2], 3, [1, 2, 3], deterministic_bytes("few"))
    assert combine({1: shares[0], 2: shares[1]}) != SECRETS[2]


def test_a_changed_share_gives_another_secret():
    shares = split(SECRETS[2], 2, [1, 2], deterministic_bytes("changed"))
    wrong = (int.from_bytes(shares[0]) ^ 1).to_bytes(33)
    assert combine({1: wrong, 2: shares[1]}) != SECRETS[2]


def test_one_share_on_a_line_through_a_wrong_seat_is_no_share_of_the_secret():
    shares = split(SECRETS[2], 2, [1, 2], deterministic_bytes("swapped"))
    assert combine({2: shares[0], 1: shares[1]}) != SECRETS[2]


@pytest.mark.parametrize("seats", [[0, 1], [1, 1], [1]])
def test_seat_zero_equal_seats_and_too_few_seats_are_our_own_mistakes(seats):
    with pytest.raises(AssertionError):
        split(SECRETS[0], 2, seats, deterministic_bytes("seats"))


def test_the_field_is_the_smallest_prime_field_above_two_to_the_256():
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    assert all(pow(base, PRIME - 1, PRIME) == 1 for base in bases)
    for smaller in range(2**256 + 1, PRIME, 2):
        assert any(pow(base, smaller - 1, smaller) != 1 for base in bases[:2])


def last_byte_statistic(secret: bytes) -> float:
    """Chi-square over the last bytes of 4000 first shares, t = 2; 255 degrees."""
    random_bytes = deterministic_bytes("uniform")
    last = [split(secret, 2, [1, 2], random_bytes)[0][-1] for _ in range(4000)]
    observed = np.bincount(last, minlength=256)
    return float(((observed - 4000 / 256) ** 2 / (4000 / 256)).sum())


# 99.999 % of a chi-square with 255 degrees of freedom lies below 360.
@pytest.mark.parametrize("secret", SECRETS)
def test_fewer_than_t_shares_are_uniform_whatever_the_secret(secret):
    assert last_byte_statistic(secret) < 360


def test_the_uniformity_test_sees_small_coefficients(monkeypatch):
    monkeypatch.setattr(shamir, "_COEFFICIENT_BYTES", 0)
    assert last_byte_statistic(SECRETS[2]) > 10_000
