"""Shares of noise: sized, rounded and bounded as promised, in Python's big integers."""

import math
import secrets
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from data_contracts.errors import ConfigError, NotFiniteError
from models.fixed_point import signed
from models.privacy import joint_noise
from models.privacy.integer_noise import Keystream, discrete_gaussian
from models.privacy.joint_noise import (
    ROUNDING_FAILURE,
    ClippedSum,
    JointNoise,
    noise_on_mean,
    share_multiplier,
)
from tests.simulators.noise_checks import ENOUGH, is_noise_of


def plan_for(**changes) -> JointNoise:
    values = {
        "noise_multiplier": 1.1,
        "clip_norm": 0.5,
        "size": 40,
        "silos": 5,
        "silos_at_least": 4,
        "colluders": 1,
        "largest": 100.0,
    }
    return JointNoise(**(values | changes))


# So many users a step that the grid is coarse and rounding is felt.
COARSE = {"size": 40_000, "silos": 3, "silos_at_least": 3, "largest": 2e6}


@st.composite
def plans(draw) -> JointNoise:
    silos = draw(st.integers(2, 200))
    at_least = draw(st.integers(2, silos))
    return plan_for(
        noise_multiplier=draw(st.floats(0.3, 20)),
        clip_norm=draw(st.floats(1e-4, 1e3)),
        size=draw(st.integers(1, 3_000_000)),
        silos=silos,
        silos_at_least=at_least,
        colluders=draw(st.integers(1, min(at_least - 1, 2 * silos // 3))),
        largest=draw(st.floats(1, 5000)),
        max_silos_per_user=draw(st.integers(1, min(3, silos))),
    )


@settings(deadline=None)
@given(plans())
def test_the_fewest_honest_shares_have_the_noise_asked_for_and_hardly_more(plan):
    fewest = plan.realised(plan.silos_at_least)
    assert plan.noise_multiplier <= fewest <= plan.noise_multiplier * (1 + 1e-9)
    assert plan.realised(plan.silos) >= fewest
    # Rounding costs something, so a share is a little more than its plain size.
    plain = share_multiplier(plan.noise_multiplier, plan.silos_at_least, plan.colluders)
    share = 2**plan.exponent * plan.grid / plan.clip_norm
    assert share >= plain * plan.max_silos_per_user


@settings(deadline=None)
@given(plans())
def test_the_sum_of_all_silos_and_their_noise_stays_in_the_ring(plan):
    one_silo = plan.limit + 1
    noise = 12 * math.sqrt(plan.silos) * 2**plan.exponent
    assert plan.silos * one_silo + noise <= plan.farthest_sum + 1e-6 < 2**31
    assert plan.limit * plan.grid <= plan.largest * plan.clip_norm
    finer = replace(plan)
    object.__setattr__(finer, "exponent", plan.exponent + 1)
    object.__setattr__(finer, "grid", plan.grid / 2)
    assert plan.exponent == 20 or finer.farthest_sum > 2**31 - 1


@settings(deadline=None)
@given(plans())
def test_what_stands_between_the_noise_and_a_continuous_gaussian_is_nothing(plan):
    assert plan.gaussian_gap < 1e-100
    assert plan.delta_spent(1000, 8.0) < 1e-11


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_lost_silos_take_their_share_with_them(lost):
    plan = plan_for(silos=6, silos_at_least=4, colluders=2)
    left = 6 - lost
    assert plan.realised(left) == pytest.approx(1.1 * math.sqrt((left - 2) / 2))


def test_a_sum_of_too_few_silos_has_no_noise_to_speak_of():
    for survivors in (3, 6):
        with pytest.raises(ConfigError, match=f"a sum of {survivors} silos is outside"):
            plan_for().realised(survivors)


@given(
    st.lists(st.floats(-120.0, 120.0), min_size=1, max_size=40),
    st.binary(min_size=32, max_size=32),
)
def test_a_share_is_the_rounded_sum_plus_noise_in_big_integers(numbers, key):
    """The same keystream again, every step in fractions and unbounded integers."""
    plan = plan_for(size=len(numbers), largest=100.0)
    words = plan.share(np.array(numbers), lambda n: key)
    stream = Keystream(lambda n: key)
    dither = [Fraction(u) for u in stream.unit_interval(len(numbers))]
    noise = discrete_gaussian(len(numbers), plan.exponent, stream).tolist()
    for word, number, u, z in zip(words.tolist(), numbers, dither, noise, strict=True):
        exact = Fraction(number / plan.grid)
        exact = max(-plan.limit, min(plan.limit, exact))
        rounded = math.floor(exact) + (u < exact - math.floor(exact))
        assert word == (rounded + z) % 2**32


@given(st.integers(2, 8), st.binary(min_size=8, max_size=8))
@settings(max_examples=30)
def test_the_sum_modulo_2_32_is_the_sum_in_big_integers(silos, salt):
    plan = plan_for(silos=silos, silos_at_least=2, size=30)
    spread = np.linspace(-200.0, 200.0, 30)  # beyond the cut at both ends
    words = [
        plan.share(spread * (-1) ** i, lambda n, i=i: salt * 3 + i.to_bytes(8))
        for i in range(silos)
    ]
    total = np.sum(words, axis=0, dtype=np.uint32)
    exact = [sum(column) for column in zip(*(signed(w).tolist() for w in words),
                                           strict=True)]  # fmt: skip
    assert signed(total).tolist() == exact
    decoded = plan.decode(signed(total))
    assert decoded.dtype == np.float32
    assert decoded == pytest.approx([x * plan.grid for x in exact], rel=1e-6)


def rounded(plan, vector, key) -> np.ndarray:
    """What the plan made of a vector before it added noise, in grid steps."""
    noise = signed(plan.share(np.zeros(plan.size), lambda n: key)).astype(np.int64)
    return signed(plan.share(vector, lambda n: key)).astype(np.int64) - noise


def nearest(plan, vector, key) -> np.ndarray:
    """The mutant that rounds to the nearest integer."""
    return np.rint(vector / plan.grid)


def worst_movement(plan, rounding, gradients, sums) -> float:
    """How far one gradient moves the rounded sum, over all pairs, in its own units."""
    moved = [
        rounding(plan, base + gradient, key) - rounding(plan, base, key)
        for gradient in gradients
        for base in sums
        for key in (secrets.token_bytes(32),)
    ]
    return max(float(np.linalg.norm(steps)) for steps in moved) * plan.grid


def cases(plan):
    """Gradients of norm C, narrow and wide; sums that lie badly for rounding."""
    flat = np.full(plan.size, plan.clip_norm / math.sqrt(plan.size))
    single = np.zeros(plan.size)
    single[0] = plan.clip_norm
    wild = np.random.default_rng(0).normal(size=plan.size)
    wild *= plan.clip_norm / np.linalg.norm(wild)
    almost_half = np.full(plan.size, 0.4999 * plan.grid)
    far_out = np.full(plan.size, plan.limit * plan.grid - 0.3 * plan.clip_norm)
    return [flat, -flat, single, wild], [0 * flat, almost_half, 3 * wild, far_out]


@pytest.mark.parametrize("changes", [{"size": 40_000}, COARSE], ids=["fine", "coarse"])
def test_one_user_moves_the_rounded_sum_no_further_than_the_sensitivity(changes):
    plan = plan_for(**changes)
    worst = worst_movement(plan, rounded, *cases(plan))
    assert 0.99 * plan.clip_norm < worst <= plan.sensitivity
    assert plan.sensitivity < 1.08 * plan.clip_norm


def test_the_sensitivity_rejects_rounding_to_the_nearest():
    plan = plan_for(**COARSE)
    assert worst_movement(plan, nearest, *cases(plan)) > 1.1 * plan.sensitivity


def test_random_rounding_has_the_right_mean():
    plan = plan_for(size=ENOUGH, silos=3, silos_at_least=3, largest=2e6)
    steps = rounded(plan, np.full(ENOUGH, 0.3 * plan.grid), secrets.token_bytes(32))
    assert set(steps.tolist()) == {0, 1}
    assert abs(steps.mean() - 0.3) < 6 * math.sqrt(0.21 / ENOUGH)


def test_a_user_in_two_silos_is_paid_for_with_twice_the_noise():
    once, twice = plan_for(), plan_for(max_silos_per_user=2)
    assert twice.sensitivity == pytest.approx(2 * once.sensitivity, rel=1e-4)
    noise = [2**plan.exponent * plan.grid for plan in (once, twice)]
    assert noise[1] == pytest.approx(2 * noise[0], rel=1e-4)
    assert twice.delta_spent(10, 0.0) == 20 * ROUNDING_FAILURE


def test_an_empty_step_is_noise_like_any_other():
    plan = plan_for(size=ENOUGH)
    words = plan.share(np.zeros(ENOUGH, np.float32), secrets.token_bytes)
    assert is_noise_of(signed(words), 2.0**plan.exponent)


def test_the_noise_of_a_share_is_never_the_same_twice():
    plan = plan_for()
    shares = {plan.share(np.zeros(40), secrets.token_bytes).tobytes() for _ in range(9)}
    assert len(shares) == 9


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_sent(wrong):
    vector = np.zeros(40)
    vector[7] = wrong
    with pytest.raises(NotFiniteError, match="NaN or infinity"):
        plan_for().share(vector, secrets.token_bytes)


def test_a_vector_of_another_length_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match=r"expected \[40\], got \[41\]"):
        plan_for().share(np.zeros(41), secrets.token_bytes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"noise_multiplier": 0.0}, "noise_multiplier 0.0 must be a finite number"),
        ({"clip_norm": math.inf}, "clip_norm inf must be a finite number above 0"),
        ({"largest": math.nan}, "largest nan must be a finite number above 0"),
        ({"colluders": 0}, "1 <= colluders < silos_at_least <= silos, got 0, 4 and 5"),
        ({"colluders": 4}, "got 4, 4 and 5: noise is secret only if"),
        ({"silos_at_least": 6}, "got 1, 6 and 5"),
        (
            {"silos_at_least": 5, "colluders": 4},
            "4 colluders among 5 silos could take the masks off any .* below 4",
        ),
        ({"max_silos_per_user": 6}, "max_silos_per_user 6 must lie between 1 and 5"),
        ({"largest": 1e9}, "fits no grid of 32 bits"),
        ({"largest": 1e6, "size": 10**9}, "fits no grid of 32 bits"),
    ],
)
def test_an_impossible_plan_is_refused_in_a_sentence(changes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        plan_for(**changes)


@pytest.mark.parametrize("colluders", [0, 4, 5])
def test_a_share_needs_somebody_whose_noise_is_secret(colluders):
    with pytest.raises(ConfigError, match=f"colluders {colluders} must lie between 1"):
        share_multiplier(1.0, 4, colluders)


def test_every_figure_of_a_plan_is_in_its_fingerprint():
    plan = plan_for()
    others = [
        plan_for(noise_multiplier=1.2),
        plan_for(clip_norm=0.6),
        plan_for(size=41),
        plan_for(silos=6),
        plan_for(silos_at_least=5),
        plan_for(colluders=2),
        plan_for(largest=101.0),
        plan_for(max_silos_per_user=2),
    ]
    prints = {p.fingerprint for p in (plan, *others)}
    assert len(prints) == 1 + len(others)
    assert plan.fingerprint == plan_for().fingerprint


def test_a_contribution_says_for_which_sums_it_is():
    plan = plan_for()
    made = plan.contribution(ClippedSum(np.zeros(40), "ab"), secrets.token_bytes)
    assert made.fewest_silos == 4
    assert made.kind == plan.kind("ab")
    assert made.words.dtype == np.uint32


@pytest.mark.parametrize("silos", [4, 10])
def test_joint_noise_is_less_than_silo_local_noise_at_equal_epsilon(silos):
    """Measured on both: the same multiplier protects every user in either mode."""
    plan = plan_for(silos=silos, silos_at_least=silos, size=ENOUGH)
    users = 50
    joint = sum(
        signed(plan.share(np.zeros(ENOUGH), secrets.token_bytes)).astype(np.int64)
        for _ in range(silos)
    ) * (plan.grid / (silos * users))
    alone = plan_for(silos=3, silos_at_least=2, colluders=1, size=ENOUGH)
    local = sum(
        signed(alone.share(np.zeros(ENOUGH), secrets.token_bytes)).astype(np.int64)
        for _ in range(silos)
    ) * (alone.grid / (silos * users))
    assert plan.realised(silos) == pytest.approx(alone.realised(2))
    assert is_noise_of(joint, plan.noise_on_mean(users, silos))
    assert is_noise_of(local, noise_on_mean(1.1, 0.5, users, silos))
    assert joint.std() / local.std() == pytest.approx(
        1 / math.sqrt(silos - 1), rel=0.02
    )


def test_the_proof_s_theta_sums_are_as_even_as_it_says():
    """Sums of exp(-(z - y)^2 / 2 w^2) over z, for any y, against w sqrt(2 pi)."""
    for width in (0.7, 1.0, 1.4):
        for y in np.linspace(0, 1, 11):
            total = sum(
                math.exp(-((z - y) ** 2) / (2 * width**2)) for z in range(-40, 41)
            )
            even = width * math.sqrt(2 * math.pi)
            assert abs(total / even - 1) <= joint_noise._theta_excess(width) + 1e-12


def hockey_stick(p, q, epsilon) -> float:
    """Smallest delta of an exact pair of distributions; both directions."""
    factor = math.exp(epsilon)
    return max(
        float(np.maximum(p - factor * q, 0).sum()),
        float(np.maximum(q - factor * p, 0).sum()),
    )


def sampled_pair(density, shift, probability, grid):
    """A step without and with a user whom Poisson sampling takes in."""
    without = density(grid)
    with_user = (1 - probability) * without + probability * density(grid - shift)
    return without, with_user


@pytest.mark.parametrize("probability", [0.1, 1.0])
@pytest.mark.parametrize("shares", [1, 3])
def test_the_sum_of_shares_is_as_private_as_the_gaussian_that_is_charged(
    shares, probability
):
    """Coarsest noise, one coordinate, a user who moves the sum by whole steps."""
    scale, shift = 2.0**joint_noise._COARSEST, 20
    reach = np.arange(-1000.0, 1001.0)
    one = np.exp(-(reach**2) / (2 * scale**2))
    one /= one.sum()
    noise = one
    for _ in range(shares - 1):
        noise = np.convolve(noise, one, mode="same")
    exact = sampled_pair(
        lambda x: np.interp(x, reach, noise, left=0, right=0), shift, probability, reach
    )
    hidden = math.sqrt(shares * scale**2 - joint_noise._SMOOTHING**2)
    fine = np.arange(-1000.0, 1000.0, 0.05)
    charged = sampled_pair(
        lambda x: 0.05 * stats.norm.pdf(x, scale=hidden), shift, probability, fine
    )
    for epsilon in (0.0, 0.1, 0.5, 1.0, 2.0):
        real, paid = (hockey_stick(*pair, epsilon) for pair in (exact, charged))
        assert real <= paid * (1 + 1e-6) + 1e-12
        assert real >= 0.5 * paid - 1e-6  # and little is given away, even here
