"""What is recommended to everybody of a silo, and by which model."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from data_contracts.errors import ConfigError
from data_contracts.run_config import explain
from data_contracts.settings.base import Section
from data_contracts.settings.cohort import SiloName


class ItemRules(Section):
    """Which items may be recommended, beside what the silo stocks."""

    available: dict[SiloName, str] = Field(
        default_factory=dict,
        description="Silo -> CSV or Parquet file, as the silo sees it, with a column "
        "item_id: what may be recommended there. Silos that are not named recommend "
        "all that they stock.",
    )
    categories: tuple[str, ...] = Field(
        (),
        description="Only items with one of these categories; none: all items.",
    )
    excluded_categories: tuple[str, ...] = Field(
        (), description="No items with any of these categories."
    )
    seen: bool = Field(
        False, description="Also recommend what a person has used before."
    )


class BatchRecommendationConfig(Section):
    """Everything that one batch of recommendations needs to know."""

    output_folder: str = Field(
        "silorec_output", description="Output folder of the run that made the model."
    )
    federation: str | None = Field(
        None,
        description="Name of the runs; left out: the only one with a published model.",
    )
    model_version: str = Field(
        "champion",
        description="champion, or the hash of a published model, or the id of the run "
        "that published it, or its beginning.",
    )
    silos: tuple[SiloName, ...] = Field(
        (), description="Silos that recommend; none: all of the federation."
    )
    k: int = Field(10, ge=1, le=1000, description="Items for each person.")
    items: ItemRules = Field(default_factory=ItemRules)
    users_at_once: int = Field(
        256, ge=1, le=100_000, description="People whom the model ranks for at once."
    )
    shards: int = Field(
        1,
        ge=1,
        le=256,
        description="Ray workers that share a silo's people, on the silo's own nodes; "
        "each takes `compute.threads` cores more.",
    )


def parse_recommendation_config(
    values: dict[str, Any], *, origin: str
) -> BatchRecommendationConfig:
    """Build the configuration, or explain every mistake in one sentence each.

    Raises:
        ConfigError: one line per mistake.
    """
    try:
        return BatchRecommendationConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, origin))) from None
