"""What is measured of a model, and what it is compared with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_contracts.settings.base import Section


class EvaluationConfig(Section):
    """What is measured, and against what."""

    k: int = Field(10, ge=1, le=1000, description="Cut-off of HR@k and NDCG@k.")
    candidates: Literal["silo-catalogue", "vocabulary"] = Field(
        "silo-catalogue",
        description="Items ranked for a user: what the silo itself stocks, or all.",
    )
    per_silo_metrics: bool = Field(
        True,
        description="Show each silo's metrics to the coordinator. Off: only their "
        "secure sum leaves a silo.",
    )
    baselines: bool = Field(
        True,
        description="Popularity, Markov chain, EASE and ItemKNN from securely summed "
        "counts.",
    )
    ease_regularization: float = Field(
        500.0,
        gt=0,
        le=1e9,
        description="Lambda of the EASE baseline: users added to every item's own "
        "count; higher trusts rare pairs of items less.",
    )
    local_only: bool = Field(
        True, description="Train each silo alone with the same budget."
    )
    alone_learning_rate: float = Field(
        3e-3,
        gt=0,
        le=10,
        description="Peak learning rate of training alone or pooled; averaging "
        "shrinks steps, so the federated rate is best about 2.5 times this.",
    )
    pooled: bool = Field(
        False,
        description="Train on all silos' data together; only for a public data set "
        "whose silos all lie on one machine.",
    )
