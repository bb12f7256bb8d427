"""Joint noise: every silo adds a share, and only the sum of all shares is seen.

One secure sum per training step (DP-FedSGD). A silo clips each user's gradient to
`clip_norm` and adds them up, rounds the sum once to a grid, at random, and adds a share
of discrete Gaussian noise. Shares are sized so that those of `silos_at_least -
colluders` silos are enough: noise that colluding silos know hides nothing. What the
unmasked sum is worth in terms of the continuous Gaussian mechanism, and the proof, is
decision 0016 in `infra/docs/decisions/`.

Left out: clipping and sampling of users, which is the silo's training; epsilon, which
is the accountant's; the sum itself (`tasks/secure_aggregation/`).
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ConfigError, NotFiniteError
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.secure_aggregation import threshold_for
from data_contracts.workspace import Contribution, InputKind
from models.fixed_point import RING_BITS, Words
from models.parameters import Vector
from models.privacy.integer_noise import (
    Keystream,
    RandomBytes,
    discrete_gaussian,
)

# Random rounding may stretch a gradient further than `sensitivity` says with this
# probability, in each step: it is added to delta.
ROUNDING_FAILURE = 2.0**-60
_SPREAD = math.sqrt(2 * math.log(1 / ROUNDING_FAILURE))
# The noise beyond which the ring may wrap, in standard deviations: exp(-72) a number.
_TAIL = 12.0
_HALF_RING = 2 ** (RING_BITS - 1) - 1
_FINEST, _COARSEST = 20, 4  # log2 of a share's standard deviation in grid steps
# Part of the noise, in grid steps, that makes integers of a continuous Gaussian.
_SMOOTHING = 4.0
# A silo with more users than it declared must not lose much of what they say.
_LARGEST_OVER_EXPECTED = 4.0


def share_multiplier(
    noise_multiplier: float, silos_at_least: int, colluders: int
) -> float:
    """Standard deviation of one silo's share, in clip norms.

    `silos_at_least - colluders` shares together have `noise_multiplier`.

    >>> share_multiplier(1.0, 5, 1), share_multiplier(1.2, 2, 1)
    (0.5, 1.2)

    Raises:
        ConfigError: nobody would be left whose noise is secret.
    """
    if not 1 <= colluders < silos_at_least:
        raise ConfigError(
            f"colluders {colluders} must lie between 1 and {silos_at_least - 1}, one "
            "less than silos_at_least: noise is secret only if somebody else adds it"
        )
    return noise_multiplier / math.sqrt(silos_at_least - colluders)


def noise_on_mean(
    noise_multiplier: float, clip_norm: float, users_per_silo: float, silos: int
) -> float:
    """Standard deviation per coordinate of a step's mean gradient, silo-local noise.

    Every silo adds the whole noise to its own sum, so it shrinks with the root of the
    number of silos only; with joint noise, see `JointNoise.noise_on_mean`.

    >>> noise_on_mean(1.0, 0.5, 100, 4)
    0.0025
    """
    return noise_multiplier * clip_norm / (math.sqrt(silos) * users_per_silo)


@dataclass(frozen=True)
class ClippedSum:
    """What a silo's users put into one step; it never leaves the silo as it is.

    Attributes:
        vector: float32 or float64 [P], sum of gradients of L2 norm `clip_norm` at most.
        model_hash: of the global model at which they were taken.
    """

    vector: NDArray[np.floating]
    model_hash: str


@dataclass(frozen=True, kw_only=True)
class JointNoise:
    """The public plan of all steps of a run, the same for every silo.

    The grid is the finest whose sum cannot leave the ring.

    Attributes:
        noise_multiplier: asked for; `realised` is never below it.
        clip_norm: C, L2 bound of one user's gradient.
        size: P, coordinates of a gradient.
        silos: n, at most so many shares are summed.
        silos_at_least: fewest inputs in a sum that is opened.
        colluders: silos that may tell others their share, or leave it out. At least 1:
            every silo knows its own.
        largest: a silo's sum is cut to +- so many clip norms in each coordinate, which
            changes no sensitivity; the public expected number of users of a step cuts
            nothing in practice.
        max_silos_per_user: in which one person may be a user.
        grid: the float that the integer 1 stands for; computed.
        exponent: log2 of a share's standard deviation in grid steps; computed.

    Raises:
        ConfigError: a figure is out of range, or no grid fits.
    """

    noise_multiplier: float
    clip_norm: float
    size: int
    silos: int
    silos_at_least: int
    colluders: int
    largest: float
    max_silos_per_user: int = 1
    grid: float = field(init=False)
    exponent: int = field(init=False)

    def __post_init__(self) -> None:
        for name in ("noise_multiplier", "clip_norm", "largest"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} {value} must be a finite number above 0")
        _require_silos(self.silos, self.silos_at_least, self.colluders)
        if not 1 <= self.max_silos_per_user <= self.silos:
            raise ConfigError(
                f"max_silos_per_user {self.max_silos_per_user} must lie between 1 and "
                f"{self.silos}"
            )
        for exponent in range(_FINEST, _COARSEST - 1, -1):
            object.__setattr__(self, "exponent", exponent)
            object.__setattr__(self, "grid", self._grid())
            if self.grid > 0 and self.farthest_sum <= _HALF_RING:
                return
        raise ConfigError(
            f"joint noise {self.noise_multiplier} for {self.size} parameters, "
            f"{self.silos} silos and sums of {self.largest} clip norms fits no grid of "
            f"{RING_BITS} bits; train fewer parameters or take fewer users per step"
        )

    @classmethod
    def agreed(
        cls,
        config: FederatedTrainingConfig,
        *,
        noise_multiplier: float,
        clip_norm: float,
        expected_users: float,
        silos: int,
        size: int,
    ) -> JointNoise:
        """The plan that follows from the settings all silos agreed on.

        Args:
            config: of the run.
            noise_multiplier: that ledgers charged.
            clip_norm: L2 bound of what one user puts in.
            expected_users: in a silo's sum, public; coordinates are cut at 4 times as
                many clip norms.
            silos: that take part.
            size: coordinates.

        Raises:
            ConfigError: too few silos, or no grid fits.
        """
        return cls(
            noise_multiplier=noise_multiplier,
            clip_norm=clip_norm,
            size=size,
            silos=silos,
            silos_at_least=config.cohort.min_silos,
            colluders=config.privacy.colluding_silos,
            largest=_LARGEST_OVER_EXPECTED * expected_users,
            max_silos_per_user=min(config.privacy.max_silos_per_user, silos),
        )

    @property
    def limit(self) -> int:
        """The integer that stands for `largest` clip norms."""
        return math.floor(self.largest * self.clip_norm / self.grid)

    @property
    def farthest_sum(self) -> int:
        """How far a coordinate of the sum gets from 0, in grid steps.

        n (limit + 1) is certain, random rounding included. The noise of n shares is
        sub-Gaussian with variance n s^2 (Canonne et al. 2020), so beyond 12 standard
        deviations lie less than 2 exp(-72), or 2^-102, of all numbers. A number that
        does leave the ring wraps: it is wrong, and as private as before.
        """
        noise = _TAIL * math.sqrt(self.silos) * 2.0**self.exponent
        return self.silos * (self.limit + 1) + math.ceil(noise)

    @property
    def sensitivity(self) -> float:
        """How far one user moves the rounded sum, L2 norm, in units of the gradient.

        sqrt(C^2 + g^2 P / 4 + g sqrt(2 ln(1 / b)) (C + g sqrt(P) / 2)) for the grid g,
        except with probability b = 2^-60, and that for each silo the user is in:
        Kairouz et al. 2021 (arXiv 2102.06387) on randomized rounding; the proof for
        sums that are rounded once is in decision 0016. Rounding to the nearest integer
        would need C + g sqrt(P).
        """
        c, g, p = self.clip_norm, self.grid, self.size
        square = c * c + g * g * p / 4 + g * _SPREAD * (c + g * math.sqrt(p) / 2)
        return self.max_silos_per_user * math.sqrt(square)

    def realised(self, survivors: int) -> float:
        """Noise multiplier of an opened sum of `survivors` silos, for the ledger.

        That of a continuous Gaussian mechanism of sensitivity 1 which is no more
        private, up to `gaussian_gap` and `delta_spent`: shares of colluders do not
        count, nor does the part of the noise that makes it whole numbers.

        Raises:
            ConfigError: fewer silos than `silos_at_least`; such a sum must not have
                been opened.
        """
        if not self.silos_at_least <= survivors <= self.silos:
            raise ConfigError(
                f"a sum of {survivors} silos is outside {self.silos_at_least} to "
                f"{self.silos}, for which joint noise was sized"
            )
        hidden = (survivors - self.colluders) * 4.0**self.exponent - _SMOOTHING**2
        return math.sqrt(hidden) * self.grid / self.sensitivity

    @property
    def gaussian_gap(self) -> float:
        """Log-ratio, per step, between the noise and a shortened continuous Gaussian.

        The density of what a step shows lies within exp(+-gap) of a post-processed
        Gaussian mechanism of multiplier `realised` (decision 0016): epsilon of T steps
        grows by at most 2 T gap, which is far below the last digit of a double.
        """
        narrowest = min(_SMOOTHING, 2.0**self.exponent / math.sqrt(2.0))
        return 3.0 * self.silos * self.size * _theta_excess(narrowest)

    def delta_spent(self, steps: int, epsilon: float) -> float:
        """What random rounding adds to delta over so many steps; see decision 0016."""
        return steps * self.max_silos_per_user * ROUNDING_FAILURE * math.exp(epsilon)

    def noise_on_mean(self, users_per_silo: float, survivors: int) -> float:
        """Standard deviation per coordinate of a step's mean gradient.

        Args:
            users_per_silo: expected in a step, public.
            survivors: silos in the sum; all of them add their share.
        """
        return self.noise_on_sum(survivors) / (survivors * users_per_silo)

    def noise_on_sum(self, survivors: int) -> float:
        """Standard deviation per coordinate of an opened sum of so many silos."""
        return math.sqrt(survivors) * 2.0**self.exponent * self.grid

    def share(self, clipped_sum: NDArray[np.floating], random: RandomBytes) -> Words:
        """A silo's input to the secure sum: cut, round at random, add the share.

        Args:
            clipped_sum: float [P], the sum of this silo's clipped gradients.
            random: the operating system's generator, `secrets.token_bytes`.

        Returns:
            uint32 [P], two's complement modulo 2^32.

        Raises:
            NotFiniteError: `clipped_sum` holds NaN or infinity.
        """
        if clipped_sum.shape != (self.size,):
            raise ValueError(f"expected [{self.size}], got {list(clipped_sum.shape)}")
        if not np.isfinite(clipped_sum).all():
            raise NotFiniteError(
                "the sum of clipped gradients holds NaN or infinity and nothing was "
                "sent; lower the learning rate or look for broken input"
            )
        stream = Keystream(random)
        scaled = clipped_sum.astype(np.float64) / self.grid
        np.clip(scaled, -self.limit, self.limit, out=scaled)
        whole = np.floor(scaled)
        # Exact, where `floor(scaled + dither)` would round the addition.
        whole += stream.unit_interval(self.size) < scaled - whole
        noisy = whole.astype(np.int64)
        noisy += discrete_gaussian(self.size, self.exponent, stream)
        words: Words = (noisy & (2**RING_BITS - 1)).astype(np.uint32)
        return words

    def decode(self, total: NDArray[np.signedinteger]) -> Vector:
        """Signed integer sums [P] -> float32 [P], the noisy sum of all gradients."""
        return (total * self.grid).astype(np.float32)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the plan; silos with different plans open none of their boxes."""
        fields = [value for _, value in sorted(vars(self).items())]
        exact = [v.hex() if isinstance(v, float) else v for v in fields]
        return hashlib.sha256(json.dumps(["joint noise", exact]).encode()).hexdigest()

    def _grid(self) -> float:
        """The g for which the fewest honest shares have the noise multiplier z.

        Solves (shares 4^exponent - smoothing^2) g^2 = z^2 sensitivity(g)^2, quadratic
        in g; 0 if nothing does, because rounding alone would cost more than that.
        """
        c, p = self.clip_norm, self.size
        z2 = (self.noise_multiplier * self.max_silos_per_user) ** 2
        shares = self.silos_at_least - self.colluders
        square = shares * 4.0**self.exponent - _SMOOTHING**2
        square -= z2 * (p / 4 + _SPREAD * math.sqrt(p) / 2)
        if square <= 0:
            return 0.0
        linear = z2 * _SPREAD * c
        root = linear + math.sqrt(linear**2 + 4 * square * z2 * c * c)
        # One part in 10^12 more than asked for, so that no rounding falls short of it.
        return root / (2 * square) * (1 + 1e-12)

    def kind(self, model_hash: str) -> InputKind:
        """What every input to the sum of a step must be."""
        return InputKind(RING_BITS, self.fingerprint, model_hash)

    def contribution(self, clipped: ClippedSum, random: RandomBytes) -> Contribution:
        """The share as it goes on the shelf: in no sum of too few silos."""
        return Contribution(
            self.share(clipped.vector, random),
            self.kind(clipped.model_hash),
            fewest_silos=self.silos_at_least,
        )


def _require_silos(silos: int, silos_at_least: int, colluders: int) -> None:
    if not 1 <= colluders < silos_at_least <= silos:
        raise ConfigError(
            f"joint noise needs 1 <= colluders < silos_at_least <= silos, got "
            f"{colluders}, {silos_at_least} and {silos}: noise is secret only if "
            "somebody outside the colluders adds it"
        )
    if colluders >= (threshold := threshold_for(silos)):
        raise ConfigError(
            f"{colluders} colluders among {silos} silos could take the masks off any "
            f"input, whatever the noise; must be below {threshold}"
        )


def _theta_excess(width: float) -> float:
    """E with sum over z of exp(-(z - y)^2 / 2 w^2) = w sqrt(2 pi) (1 +- e), any y."""
    return 2.0001 * math.exp(-2 * (math.pi * width) ** 2)
