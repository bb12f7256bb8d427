"""Prefect edge of the recommendation room."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from data_contracts.progress import announce
from data_contracts.recommendations import (
    BatchRecommendations,
    RecommendationJob,
    RecommendationReceipt,
    SavedModel,
)
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.recommendation import BatchRecommendationConfig
from data_contracts.stopwatch import now_utc
from data_contracts.workspace import Cohort, SiloReplies
from tasks.recommendation.silo_side import recommend


@task(name="Recommend on silos", cache_policy=NO_CACHE)
def recommend_on_silos(
    cohort: Cohort,
    model: SavedModel,
    config: BatchRecommendationConfig,
    training: FederatedTrainingConfig,
) -> SiloReplies[RecommendationReceipt]:
    """Let every silo rank for all its people, and keep the result.

    Args:
        cohort: silos that hold tables which keep the contract.
        model: to rank by.
        config: of the batch.
        training: that made the model; says how items are named, and what is private.
    """
    announce().stage(f"Recommending at {len(cohort.silos)} silos")
    job = RecommendationJob(
        k=config.k,
        rules=config.items,
        users_at_once=config.users_at_once,
        shards=config.shards,
        made_at=now_utc().isoformat(),
        tell_counts=not training.privacy.on,
    )
    names = training.preprocessing.item_names
    return cohort.call(recommend, cohort.broadcast(model), job, names, retry=True)


@task(name="Publish recommendations", cache_policy=NO_CACHE)
def publish_recommendations(found: BatchRecommendations) -> None:
    """Show what every silo did on the flow run's page, and say who did nothing."""
    for sentence in found.refused.values():
        announce().note(sentence)
    create_table_artifact(
        recommendation_rows(found),
        key="recommendations",
        description=f"Recommendations by model {found.model_sha256[:12]}.",
    )


def recommendation_rows(found: BatchRecommendations) -> list[dict[str, str]]:
    """One row for each silo."""
    done = [
        {
            "silo": silo,
            "users": _number(told.users),
            "by popularity": _number(told.without_history),
            "users per second": _number(told.users, max(told.seconds, 1e-3)),
            "table": told.table,
        }
        for silo, told in found.receipts.items()
    ]
    none = {"users": "-", "by popularity": "-", "users per second": "-"}
    return done + [
        {"silo": silo, **none, "table": why} for silo, why in found.refused.items()
    ]


def _number(count: int | None, seconds: float = 1.0) -> str:
    return "not told" if count is None else f"{count / seconds:,.0f}"
