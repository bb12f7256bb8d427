"""What one training run with canaries proves about epsilon.

Three readings of the same scores, all for canaries that joined by fair coins:

* `one_run_bound`: Steinke, Nasr & Jagielski 2023 (arXiv 2305.08846). If
  the trainer is (epsilon, delta)-private, so many right guesses are unlikely.
* `f_dp_bound`: Mahloujifar, Melis & Chaudhuri 2024 (arXiv 2410.22235),
  tighter; it refutes the claim to be as private as the Gaussian mechanism of that
  (epsilon, delta).
* `gaussian_estimate`: Andrew et al. 2023 (arXiv 2302.03098). Sharp, and no proof.

Bounds have ceilings: so many canaries cannot prove more, were every guess right.

Legend: m canaries, r guesses, v of them right; high scores say "joined".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Coins = NDArray[np.bool_]

HIGHEST_EPSILON = 100.0
"""Larger values are reported as this one; no trainer that hides anything has it."""

GUESSED_SHARES = (1 / 2, 1 / 3, 1 / 5, 1 / 10, 1 / 20)
"""Shares of the canaries that are guessed to have joined, the highest scores first."""

_BISECTIONS = 40
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Bounds:
    """Lower bounds of epsilon; 0 where nothing is proved.

    Attributes:
        one_run: for any (epsilon, delta)-private trainer.
        f_dp: for trainers that claim to be as private as a Gaussian mechanism.
    """

    one_run: float
    f_dp: float

    @property
    def best(self) -> float:
        """The larger of the two."""
        return max(self.one_run, self.f_dp)


@dataclass(frozen=True)
class Estimate:
    """An epsilon that the scores suggest, with an interval; proves nothing."""

    epsilon: float
    low: float
    high: float


@dataclass(frozen=True)
class Guesses:
    """r guesses, v of them right."""

    made: int
    right: int


def one_run_p_value(
    canaries: int, guesses: Guesses, epsilon: float, delta: float
) -> float:
    """Probability bound of so many right guesses under (epsilon, delta)-privacy.

    With B ~ Binomial(r, e^epsilon / (1 + e^epsilon)), P[B >= v] and, for delta, the
    largest P[v - i <= B < v] / i over i = 1..v, times 2 m delta.

    >>> round(one_run_p_value(10, Guesses(10, 10), 0.0, 0.0), 6)
    0.000977
    """
    masses = _binomial(guesses.made, 1.0 / (1.0 + math.exp(-epsilon)))
    tail = float(masses[guesses.right :].sum())
    below = np.cumsum(masses[: guesses.right][::-1])
    slope = float((below / np.arange(1, guesses.right + 1)).max(initial=0.0))
    return min(1.0, tail + 2.0 * canaries * delta * slope)


def one_run_bound(
    canaries: int, guesses: Guesses, delta: float, significance: float
) -> float:
    """Largest epsilon that is refuted at this significance; 0 if none is."""
    return _largest(
        lambda epsilon: (
            one_run_p_value(canaries, guesses, epsilon, delta) <= significance
        )
    )


def f_dp_refutes(
    canaries: int, guesses: Guesses, mu: float, significance: float
) -> bool:
    """Whether so many right guesses refute the trade-off curve of N(0, 1), N(mu, 1).

    Walks from v right guesses down to none. `reached` and `missed` bound the
    probability mass of right and wrong guesses at and above each count.
    """
    made, right = guesses.made, guesses.right
    reached = significance * right / canaries
    missed = significance * (made - right) / canaries
    limit = made / canaries
    for count in range(right - 1, -1, -1):
        if reached + missed >= limit or reached >= 1.0:
            return True
        forced = max(missed, _normal_cdf(_NORMAL.inv_cdf(reached) - mu))
        reached += count / (made - count) * (forced - missed)
        missed = forced
    return reached + missed >= limit


def f_dp_bound(
    canaries: int, guesses: Guesses, delta: float, significance: float
) -> float:
    """Largest epsilon whose Gaussian mechanism is refuted; 0 if none is."""
    if guesses.right == 0:
        return 0.0
    mu = _largest(lambda mu: f_dp_refutes(canaries, guesses, mu, significance), 20.0)
    return gaussian_epsilon(mu, delta)


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Delta at which telling N(0, 1) from N(mu, 1) is (epsilon, delta)-private.

    Balle & Wang 2018 (arXiv 1805.06530), Theorem 8, with mu = sensitivity / sigma.
    """
    if mu <= 0.0:
        return 0.0
    return _normal_cdf(mu / 2 - epsilon / mu) - math.exp(
        epsilon + _log_normal_cdf(-mu / 2 - epsilon / mu)
    )


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Epsilon of telling N(0, 1) from N(mu, 1), at most `HIGHEST_EPSILON`.

    >>> round(gaussian_epsilon(1.0, 1e-5), 2)
    4.38
    """
    return _largest(lambda epsilon: gaussian_delta(mu, epsilon) > delta)


def certified_bounds(
    scores: Scores, joined: Coins, delta: float, significance: float
) -> Bounds:
    """The best bounds over a fixed set of ways to guess, paid for by Bonferroni.

    Args:
        scores: float64 [m]; functions of what the trainer releases, not of the coins.
        joined: bool [m], independent fair coins.
        delta: of the claim.
        significance: probability that a bound may be wrong.
    """
    order = np.argsort(-scores, kind="stable")
    return _best(
        (_guesses(joined[order], top, bottom) for top, bottom in ways(len(scores))),
        len(scores),
        delta,
        significance,
    )


def ceiling(canaries: int, delta: float, significance: float) -> Bounds:
    """What `certified_bounds` would prove if every guess were right."""
    perfect = (Guesses(top + bottom, top + bottom) for top, bottom in ways(canaries))
    return _best(perfect, canaries, delta, significance)


def ways(canaries: int) -> list[tuple[int, int]]:
    """How many to guess "joined" from the top and "stayed out" from the bottom."""
    tops = sorted({max(1, int(canaries * share)) for share in GUESSED_SHARES})
    both = [(min(top, canaries // 2), min(top, canaries // 2)) for top in tops]
    return list(dict.fromkeys([(top, 0) for top in tops] + both))


def gaussian_estimate(
    scores: Scores,
    joined: Coins,
    delta: float,
    significance: float,
    draws: np.random.Generator,
    resamples: int = 400,
) -> Estimate:
    """Epsilon of two normals fitted to the scores, with a bootstrap interval.

    Args:
        scores: float64 [m].
        joined: bool [m].
        delta: of the claim.
        significance: probability that the interval misses what it estimates.
        draws: of the bootstrap.
        resamples: bootstrap samples.
    """
    inside, outside = scores[joined], scores[~joined]
    mus = [
        _separation(
            draws.choice(inside, inside.size), draws.choice(outside, outside.size)
        )
        for _ in range(resamples)
    ]
    low, high = np.quantile(mus, [significance / 2, 1 - significance / 2])
    return Estimate(
        *(
            gaussian_epsilon(float(mu), delta)
            for mu in (_separation(inside, outside), low, high)
        )
    )


def _separation(inside: Scores, outside: Scores) -> float:
    """Distance of the means in units of the larger standard deviation."""
    if min(inside.size, outside.size) < 2:
        return 0.0
    gap = float(inside.mean() - outside.mean())
    spread = float(max(inside.std(ddof=1), outside.std(ddof=1)))
    if spread > 0.0:
        return max(0.0, gap / spread)
    return math.inf if gap > 0.0 else 0.0


def _guesses(sorted_coins: Coins, top: int, bottom: int) -> Guesses:
    right = int(sorted_coins[:top].sum())
    right += int((~sorted_coins[len(sorted_coins) - bottom :]).sum())
    return Guesses(top + bottom, right)


def _best(
    guesses: Iterator[Guesses], canaries: int, delta: float, significance: float
) -> Bounds:
    tried = list(guesses)
    share = significance / len(tried)
    return Bounds(
        max(one_run_bound(canaries, made, delta, share) for made in tried),
        max(f_dp_bound(canaries, made, delta, share) for made in tried),
    )


def _binomial(trials: int, chance: float) -> NDArray[np.float64]:
    """Probabilities of 0..trials successes."""
    if chance >= 1.0:
        sure: NDArray[np.float64] = np.eye(trials + 1)[trials]
        return sure
    counts = np.arange(trials + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    log_ways = log_factorial[-1] - log_factorial - log_factorial[::-1]
    logs = counts * math.log(chance) + (trials - counts) * math.log1p(-chance)
    return np.asarray(np.exp(log_ways + logs))


def _largest(holds: Callable[[float], bool], most: float = HIGHEST_EPSILON) -> float:
    """The largest number up to `most` for which a falling property holds; 0 if none.

    Bisection ends below the true value, never above.
    """
    if holds(most):
        return most
    low, high = 0.0, most
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _log_normal_cdf(x: float) -> float:
    """Also where the value itself would be 0 (Abramowitz & Stegun 26.2.12)."""
    if x > -30.0:
        return math.log(_normal_cdf(x))
    square = x * x
    series = 1.0 - 1.0 / square + 3.0 / square**2
    return -square / 2 - math.log(-x * math.sqrt(2.0 * math.pi)) + math.log(series)
