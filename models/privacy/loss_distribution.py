"""The distribution of privacy loss, on a grid, never too small.

Two data sets that differ in one user give two distributions P and Q of what is seen;
the loss is log(P / Q) under P. Losses of independent steps add up, so a whole history
is a convolution, and epsilon for a given delta follows from the result (Sommer et al.
2019; Koskela et al. 2020). Losses are spread onto the two neighbouring grid points so
that the masses of P and of Q both stay as they are: the curve of delta is exact at grid
points and above the truth between them ("connect the dots", Doroshenko et al. 2022,
arXiv 2207.04380). Whatever falls off the grid counts as infinite loss.

Legend: h grid step, q sampling probability, sigma noise multiplier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

Floats = NDArray[np.float64]

GRID_STEP = 2.5e-4
HUGE = 100.0
_TAIL_SIGMAS = 10.0
_OFF_GRID = 1e-15
_ORDERS = np.geomspace(0.05, 1e3, 24)


@dataclass(frozen=True, eq=False)
class LossDistribution:
    """Masses [n] of the losses (lowest, lowest + 1, ...) * h, and of infinite loss.

    Attributes:
        lowest: first loss, in grid steps.
        masses: [n].
        infinite: mass of infinite loss.
        moments: logarithms of E exp(-order * loss) and of E exp(order * loss), at most
            these, each [orders]; they bound the tails.
    """

    lowest: int
    masses: Floats
    infinite: float
    moments: tuple[Floats, Floats]

    @property
    def losses(self) -> Floats:
        """The loss at each grid point, [n]."""
        return _grid(self.lowest, len(self.masses))

    def epsilon(self, delta: float) -> float:
        """The smallest epsilon, at least 0, that holds with this delta; may be inf."""
        if self.infinite >= delta:
            return math.inf
        # With epsilon at loss i, only losses from i on count against it; below it,
        # delta is above[i] - exp(epsilon - loss[i]) * scaled[i].
        above = self.infinite + np.cumsum(self.masses[::-1])[::-1]
        decay = [1.0, -math.exp(-GRID_STEP)]
        scaled = lfilter([1.0], decay, self.masses[::-1])[::-1]
        first = int(np.flatnonzero(above - scaled <= delta)[0])
        below = (above[first] - delta) / scaled[first] if scaled[first] > 0 else 0.0
        shift = max(-GRID_STEP, math.log(below)) if below > 0 else -GRID_STEP
        return max(0.0, float(self.losses[first]) + shift)


def both_directions(
    noise_multiplier: float, sampling_probability: float
) -> tuple[LossDistribution, LossDistribution]:
    """Losses of one step if one user is removed, and if one is added.

    The step is the Gaussian mechanism of sensitivity 1 on a Poisson sample, with
    P = (1 - q) N(0, sigma^2) + q N(1, sigma^2) and Q = N(0, sigma^2), or the reverse
    (Zhu et al. 2022, arXiv 2106.08567, theorem 11).
    """
    sigma, q = noise_multiplier, sampling_probability
    reach = _TAIL_SIGMAS * sigma
    ends = _loss_at(np.array([-reach, 1.0 + reach]), sigma, q) / GRID_STEP
    first, last = math.floor(ends[0]), math.ceil(ends[1])
    edges = _noise_at(_grid(first, last - first + 1), sigma, q)
    without = _between(edges, 0.0, sigma)
    mixed = (1.0 - q) * without + q * _between(edges, 1.0, sigma)
    removed = _dots_connected(first, mixed, without)
    added = _dots_connected(-last, without[::-1], mixed[::-1])
    return removed, added


def _loss_at(noise: Floats, sigma: float, q: float) -> Floats:
    """log(P / Q) where the noisy output is `noise`."""
    unsampled = math.log1p(-q) if q < 1 else -math.inf
    sampled = math.log(q) + (2 * noise - 1) / (2 * sigma**2)
    losses: Floats = np.logaddexp(unsampled, sampled)
    return losses


def _noise_at(losses: Floats, sigma: float, q: float) -> Floats:
    """The output at which log(P / Q) has these values; -inf below all of them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.log(np.expm1(losses) + q) - np.log(q)
    noise: Floats = np.where(np.isnan(odds), -np.inf, sigma**2 * odds + 0.5)
    return noise


def _between(edges: Floats, mean: float, sigma: float) -> Floats:
    """Normal probability between neighbouring edges, exact in both tails."""
    z = (edges - mean) / sigma
    left = np.diff(ndtr(z))
    right = -np.diff(ndtr(-z))
    between: Floats = np.where(z[:-1] > 0, right, left)
    return between


def _dots_connected(lowest: int, p: Floats, q: Floats) -> LossDistribution:
    """Masses at grid points from the masses of P and Q between them, [n - 1] each."""
    losses = _grid(lowest, len(p))
    upper = (p - q * np.exp(losses)) / -np.expm1(-GRID_STEP)
    upper = np.clip(upper, 0.0, p)
    masses = np.append(p - upper, 0.0)
    masses[1:] += upper
    infinite = max(0.0, 1.0 - float(p.sum()))
    moments = _log_moments(-1.0, lowest, masses), _log_moments(1.0, lowest, masses)
    return LossDistribution(lowest, masses, infinite, moments)


def composed(parts: list[tuple[LossDistribution, int]]) -> LossDistribution:
    """The loss of all parts together, each so many times.

    By fast Fourier transform on a window that holds all but a negligible mass. Losses
    that are nearly surely beyond `HUGE` are not told apart from infinite ones.
    """
    moments = _together(parts, 0), _together(parts, 1)
    low, high = -_tail(moments[0]), _tail(moments[1])
    if low > HUGE:
        return LossDistribution(0, np.zeros(1), 1.0, moments)
    lowest, highest = int(np.floor(low / GRID_STEP)), int(np.ceil(high / GRID_STEP))
    size = 1 << int(np.ceil(np.log2(highest - lowest + 2)))
    transform = np.ones(size // 2 + 1, dtype=np.complex128)
    shift, finite = 0, 1.0
    for part, times in parts:
        transform *= _power(np.fft.rfft(_wrapped(part.masses, size)), times)
        shift += times * part.lowest
        finite *= (1.0 - part.infinite) ** times
    masses = np.fft.irfft(transform, size)
    masses = np.roll(masses, (shift - lowest) % size)
    kept = np.clip(masses[: highest - lowest + 1], 0.0, None)
    infinite = (1.0 - finite) + 4 * _OFF_GRID
    return LossDistribution(lowest, kept, infinite, moments)


def _power(x: NDArray[np.complex128], times: int) -> NDArray[np.complex128]:
    """X to the power `times`, by squaring: much faster than numpy's own."""
    result = np.ones_like(x)
    while times:
        if times & 1:
            result *= x
        times >>= 1
        if times:
            x = x * x
    return result


def _wrapped(masses: Floats, size: int) -> Floats:
    """Masses [n] on a circle of `size` points."""
    short = len(masses) % size
    padded = np.pad(masses, (0, (size - short) % size))
    wrapped: Floats = padded.reshape(-1, size).sum(axis=0)
    return wrapped


def _log_moments(sign: float, lowest: int, masses: Floats) -> Floats:
    """Log E exp(sign * order * loss) over the finite losses, [orders]."""
    here = masses > 0
    losses = sign * _grid(lowest, len(masses))[here]
    top = losses.max()
    scaled: Floats = np.exp(np.outer(_ORDERS, losses - top)) @ masses[here]
    logs: Floats = np.log(scaled) + _ORDERS * top
    return logs


def _together(parts: list[tuple[LossDistribution, int]], side: int) -> Floats:
    """Moments of the sum: those of independent parts add up."""
    total = np.zeros(len(_ORDERS))
    for part, times in parts:
        total += times * part.moments[side]
    return total


def _tail(log_moments: Floats) -> float:
    """A loss beyond which lies less than `_OFF_GRID`: the best of Chernoff's bounds."""
    return float(np.min((log_moments - math.log(_OFF_GRID)) / _ORDERS))


def _grid(lowest: int, size: int) -> Floats:
    """Losses [size] from `lowest` steps on."""
    return GRID_STEP * np.arange(lowest, lowest + size, dtype=np.float64)
