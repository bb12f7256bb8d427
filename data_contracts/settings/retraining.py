"""What becomes of a retrained model; changes no training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_contracts.settings.base import Section


class RetrainingConfig(Section):
    """When `silorec retrain` trains, and which model it puts into use."""

    min_new_silos: int = Field(
        1,
        ge=0,
        le=1000,
        description="Fewest silos whose accepted tables differ from those that the "
        "champion learned from; with fewer nothing is trained. 0: always train.",
    )
    max_regression: float = Field(
        0.0,
        ge=0,
        le=1,
        description="A challenger whose test NDCG over all silos is lower than the "
        "champion's by more than this share is rejected.",
    )
    max_silo_regression: float = Field(
        0.05,
        ge=0,
        le=1,
        description="The same for each silo, where silos show their own metrics.",
    )
    beat_popularity: bool = Field(
        True,
        description="Reject a challenger that ranks no better than popularity, where "
        "evaluation.baselines measures that.",
    )
    promotion: Literal["automatic", "approval"] = Field(
        "automatic",
        description="automatic: what passes the gate becomes the champion. approval: "
        "it waits as a candidate for a person, in the Prefect UI or by `silorec "
        "models promote`.",
    )
    approval_hours: float = Field(
        24.0,
        gt=0,
        le=24 * 30,
        description="How long a flow run waits for the person in the Prefect UI; after "
        "that the model stays a candidate.",
    )
