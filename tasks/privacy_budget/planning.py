"""What a private run would cost and be worth, before anybody's data is touched.

Nothing here reads data: everything follows from public numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from data_contracts.privacy_events import GaussianEvent
from data_contracts.privacy_plan import PrivacyPlan
from data_contracts.settings.privacy import USERS_FOR_AN_ITEM_TABLE, PrivacyConfig
from models.privacy.accounting import Spent, noise_multiplier_for

LARGEST_BATCH = 4096
SMALL_SHARE, LARGE_SHARE = 0.17, 0.04
# Until the silos' ledgers say what they need; an event must have some noise.
UNKNOWN_NOISE = 1.0


@dataclass(frozen=True)
class Outlook:
    """A run with a given number of rounds.

    Attributes:
        rounds: of training.
        noise_multiplier: that all planned runs need.
        noise_to_signal: length of the noise on a mean gradient over the longest that a
            mean gradient can be, 1 where every user pulls the same way.
    """

    rounds: int
    noise_multiplier: float
    noise_to_signal: float


@dataclass(frozen=True)
class Advice:
    """Settings that suit so many users.

    Attributes:
        items: `model.items`.
        sampling_probability: of `privacy`.
        reason: one sentence.
    """

    items: str
    sampling_probability: float
    reason: str


def planned(privacy: PrivacyConfig, steps: int) -> PrivacyPlan:
    """The plan of a run, whose training noise may still be open."""

    def one_shot(epsilon: float) -> float:
        return noise_multiplier_for(
            epsilon, privacy.spendable_delta, sampling_probability=1.0, steps=1
        )

    noisy = privacy.metrics == "noisy"
    return PrivacyPlan(
        GaussianEvent(
            privacy.noise_multiplier or UNKNOWN_NOISE,
            privacy.sampling_probability,
            steps,
        ),
        popularity=(
            one_shot(privacy.popularity_epsilon) if privacy.popularity_epsilon else None
        ),
        metrics=one_shot(privacy.metrics_epsilon) if noisy else None,
    )


def outlook(
    privacy: PrivacyConfig,
    releases: PrivacyPlan,
    rounds: int,
    parameters: int,
    silos: int,
    spent: Spent | None = None,
) -> Outlook:
    """What so many rounds need and what noise they leave on a step.

    Args:
        privacy: the public numbers.
        releases: of each run, beside its training.
        rounds: of training.
        parameters: that are trained, d.
        silos: that train together.
        spent: what the ledger holds already.

    Raises:
        PrivacyBudgetError: no noise would be enough.
    """
    copies = privacy.max_silos_per_user * privacy.planned_runs
    beside = [replace(e, steps=e.steps * copies) for e in releases.releases]
    noise = noise_multiplier_for(
        privacy.epsilon,
        privacy.spendable_delta,
        sampling_probability=privacy.sampling_probability,
        steps=copies * rounds * privacy.steps_in_round,
        spent=spent,
        beside=beside,
    )
    return Outlook(rounds, noise, noise_to_signal(privacy, noise, parameters, silos))


def noise_to_signal(
    privacy: PrivacyConfig, noise: float, parameters: int, silos: int
) -> float:
    """Noise on the mean gradient of a step, over the clip norm.

    The noise of a silo is `noise * sqrt(d)` on a sum over its batch. Averaged over
    silos it shrinks with the root of their number; noise that they share, sized for
    all but the colluding ones, with their number.
    """
    alone = noise * parameters**0.5 / privacy.expected_batch
    if privacy.mode != "joint":
        return float(alone / silos**0.5)
    honest = max(1, silos - privacy.colluding_silos)
    return float(alone / silos * (silos / honest) ** 0.5)


def epsilon_over_rounds(
    privacy: PrivacyConfig, releases: PrivacyPlan, noise: float, rounds: Iterable[int]
) -> list[tuple[int, float]]:
    """(rounds, epsilon of one run with so many), for a curve."""
    return [
        (number, _of_one_run(privacy, releases, noise, number)) for number in rounds
    ]


def advice_for(users: int, silos: int) -> Advice:
    """What suits silos of `users` users each.

    Measured on MovieLens-1M: with 6,000 users a table of items drowns in noise, and a
    small map of public features keeps most of its quality.
    """
    if users * silos < USERS_FOR_AN_ITEM_TABLE:
        return Advice(
            "features", SMALL_SHARE,
            f"{users * silos:,} people cannot pay for a vector per item: describe "
            "items by public features, and take many of the people into each step",
        )  # fmt: skip
    share = min(LARGE_SHARE, LARGEST_BATCH / users)
    return Advice(
        "table", share,
        f"{users * silos:,} people can pay for a vector per item; steps of about "
        f"{LARGEST_BATCH:,} people are enough",
    )  # fmt: skip


def _of_one_run(
    privacy: PrivacyConfig, releases: PrivacyPlan, noise: float, rounds: int
) -> float:
    training = replace(
        releases.training,
        noise_multiplier=noise,
        steps=rounds * privacy.steps_in_round,
    )
    events = [training, *releases.releases]
    shared = [replace(e, steps=e.steps * privacy.max_silos_per_user) for e in events]
    return Spent(shared).epsilon(privacy.spendable_delta)
