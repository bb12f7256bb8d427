"""Differential privacy of every person in every silo, over all runs of a period."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from data_contracts.settings.base import Section

PrivacyMode = Literal["off", "local", "joint"]
Period = Literal["life", "year", "quarter", "month"]
ReleasedMetrics = Literal["noisy", "in-silo", "trusted-coordinator"]

FEWEST_USERS = 100
MOST_STEPS = 10**6
"""Of joint noise that a person's data goes into in a period."""
USERS_FOR_AN_ITEM_TABLE = 100_000
"""With fewer, the noise drowns a trained vector for each item."""


class PrivacyConfig(Section):
    """User-level differential privacy. Everything here is public and agreed on."""

    mode: PrivacyMode = Field(
        "off",
        description="off: no formal privacy. local: each silo trains privately by "
        "itself, which needs no trust in anybody. joint: one secure sum per step and "
        "noise that all silos share, much less of it; needs several silos that do not "
        "all work together.",
    )
    epsilon: float = Field(
        8.0,
        gt=0,
        le=50,
        description="What any person may lose in a silo over the whole period, in all "
        "runs together.",
    )
    delta: float | None = Field(
        None,
        gt=0,
        lt=1e-2,
        description="Probability that epsilon does not hold; fixed for the life of a "
        "silo's ledger. Left out: declared_users ** -1.1.",
    )
    declared_users: int | None = Field(
        None,
        ge=FEWEST_USERS,
        description="A number of users that every silo has at least, and that all "
        "agreed to make public; batches are sized by it, never by a count.",
    )
    period: Period = Field(
        "year", description="After which calendar period the budget starts anew."
    )
    planned_runs: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Runs, this one included, that what is left of the budget must "
        "last for.",
    )
    max_silos_per_user: int = Field(
        1, ge=1, le=100, description="In how many silos one person may be a user."
    )
    noise_multiplier: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="Noise over clip_norm in each step; left out: the smallest that "
        "lets all planned runs fit.",
    )
    clip_norm: float = Field(
        0.5, gt=0, le=1e4, description="L2 bound of one user's gradient in a step."
    )
    sampling_probability: float = Field(
        0.17, gt=0, le=1, description="With which a user takes part in a step."
    )
    steps_per_round: int = Field(
        10,
        ge=1,
        le=100_000,
        description="Private steps of each silo in a round; in mode joint each round "
        "is one step.",
    )
    learning_rate: float = Field(
        8e-3, gt=0, le=10, description="Of Adam, in the silo or at the coordinator."
    )
    averaging: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of the moving average over steps that a silo sends.",
    )
    negatives: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Items drawn for sampled softmax; 0: all items are scored.",
    )
    engine: Literal["bookkeeping", "one-user"] = Field(
        "bookkeeping",
        description="How gradients are clipped: one pass for all users, or one user "
        "at a time, slowly, with any model.",
    )
    popularity_epsilon: float = Field(
        0.3,
        ge=0,
        le=10,
        description="Part of epsilon for a noisy count of items, which the scores "
        "start from; 0: none.",
    )
    metrics: ReleasedMetrics = Field(
        "noisy",
        description="What is told of quality. noisy: test metrics once, with noise, "
        "charged. in-silo: nothing leaves a silo. trusted-coordinator: exact metrics "
        "of all models, outside the guarantee; the report says so in red.",
    )
    metrics_epsilon: float = Field(
        0.2, gt=0, le=10, description="Part of epsilon for noisy test metrics."
    )
    colluding_silos: int = Field(
        1,
        ge=1,
        le=300,
        description="Mode joint: silos whose share of the noise may be known to "
        "others; at least 1, for every silo knows its own.",
    )

    @model_validator(mode="after")
    def _says_for_how_many(self) -> PrivacyConfig:
        if self.on and self.declared_users is None:
            raise ValueError(
                "mode needs declared_users: a number of users that every silo has at "
                "least and that may be public"
            )
        noisy = self.metrics_epsilon if self.metrics == "noisy" else 0.0
        released = self.popularity_epsilon + noisy
        if self.on and released >= self.epsilon:
            raise ValueError(
                f"popularity_epsilon and metrics_epsilon take {released:g} of epsilon "
                f"{self.epsilon:g} and leave nothing to train with; lower them or "
                "raise epsilon"
            )
        if self.mode == "joint" and self.rounding_delta > self.target_delta / 2:
            raise ValueError(
                f"joint noise is rounded, which takes more than half of delta "
                f"{self.target_delta:.2g} at epsilon {self.epsilon:g}; lower epsilon"
            )
        return self

    @property
    def on(self) -> bool:
        """Whether there is a guarantee at all."""
        return self.mode != "off"

    @property
    def steps_in_round(self) -> int:
        """Private steps of a silo in a round."""
        return 1 if self.mode == "joint" else self.steps_per_round

    @property
    def target_delta(self) -> float:
        """Delta, given or derived."""
        if self.delta is not None:
            return self.delta
        assert self.declared_users is not None
        return float(self.declared_users**-1.1)

    @property
    def rounding_delta(self) -> float:
        """What random rounding of joint noise may add to delta in a period.

        2^-60 e^epsilon a step and silo of a person (decision 0016), for more steps
        than a period holds.
        """
        return MOST_STEPS * self.max_silos_per_user * 2.0**-60 * math.exp(self.epsilon)

    @property
    def spendable_delta(self) -> float:
        """`target_delta` less `rounding_delta`: what noise is sized by."""
        return self.target_delta - min(self.rounding_delta, self.target_delta / 2)

    @property
    def expected_batch(self) -> float:
        """Users that a step of one silo is expected to have at least; public."""
        assert self.declared_users is not None
        return self.sampling_probability * self.declared_users
