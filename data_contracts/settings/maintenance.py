"""Settings of maintenance: what it looks after, and how old a thing must be to go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_contracts.settings.base import Section

TableName = Literal[
    "contract_results",
    "participants",
    "aggregation_phases",
    "metrics",
    "decisions",
    "model_versions",
    "privacy",
    "privacy_audits",
    "model_stages",
    "retrainings",
    "rounds",
    "runs",
]


class MaintenanceConfig(Section):
    """Everything one maintenance run needs to know."""

    output_folder: str = Field(
        "silorec_output",
        description="Output folder of the runs to look after.",
    )
    tables: tuple[TableName, ...] = Field(
        (),
        description="Lineage tables to look after; left out: all of them.",
    )
    remove: bool = Field(
        False,
        description="Remove what is no longer needed; otherwise only tell what would "
        "go. Merging small files needs no permission: it removes nothing.",
    )
    retention_hours: int = Field(
        168,
        ge=1,
        le=87_600,
        description="Data files that a merge replaced are kept so long, for readers "
        "that opened the table before.",
    )
    orphan_hours: float = Field(
        24.0,
        ge=1.0,
        le=87_600.0,
        description="Temporary files, and models that no record names, must be at "
        "least so old: a run that is going may be about to record them.",
    )
