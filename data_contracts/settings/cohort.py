"""Who takes part: the silos, their tables, their hardware, and the quorum."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from data_contracts.columns import Column, TableName
from data_contracts.settings.base import Section

TimeUnit = Literal["s", "ms", "us", "ns"]
SiloName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", strip_whitespace=True)
]

# The pretended silo that holds a public data set as a whole, for comparison only.
POOLED_SILO_NAME = "pooled"
# Who adds up masks in secure_aggregation.mode two-aggregators; never a member.
AUDITOR_NAME = "auditor"


class TableSource(Section):
    """Where one table lies and how its columns map onto the canonical ones."""

    path: str = Field(description="File or folder of the table, as the silo sees it.")
    format: Literal["auto", "parquet", "csv", "delta"] = Field(
        "auto", description="File format; auto goes by the ending or `_delta_log`."
    )
    columns: dict[Column, str] = Field(
        default_factory=dict,
        description="Canonical column name -> name in the silo's own table, "
        "where the two differ.",
    )
    time_unit: TimeUnit = Field(
        "s",
        description="What a timestamp that is a whole number counts since 1970: "
        "seconds, milliseconds, microseconds or nanoseconds.",
    )
    rating_factor: float = Field(
        1.0,
        gt=0,
        le=1e9,
        description="Ratings of this table are multiplied by it, for example 0.01 "
        "where they are cents and others bring whole units.",
    )


class ComputeConfig(Section):
    """What a silo's Ray actor asks for."""

    num_cpus: float = Field(
        1.0, ge=0, le=1024, description="CPU cores reserved for the silo's actor."
    )
    num_gpus: float = Field(
        0.0, ge=0, le=64, description="GPUs reserved; fractions share a card."
    )
    custom_resources: dict[str, float] = Field(
        default_factory=dict,
        description="Ray resources that only this silo's own node offers, "
        "for example {'silo:north': 1}.",
    )
    threads: int = Field(
        1, ge=1, le=256, description="CPU threads torch may use inside the actor."
    )


class SiloConfig(Section):
    """One organisation: its name, its tables and its hardware."""

    name: SiloName = Field(
        description="Lower-case letters, digits and dashes, at most 40."
    )
    interactions: TableSource | None = Field(
        None, description="Who interacted with what, and when."
    )
    items: TableSource | None = Field(
        None, description="The silo's catalogue; its item ids are shared."
    )
    users: TableSource | None = Field(
        None, description="User attributes; checked and kept inside the silo."
    )
    compute: ComputeConfig | None = Field(
        None, description="Hardware of this silo; left out: `cohort.compute`."
    )

    def sources(self) -> dict[TableName, TableSource]:
        """The tables this silo brings, by canonical name."""
        tables = {
            TableName.INTERACTIONS: self.interactions,
            TableName.ITEMS: self.items,
            TableName.USERS: self.users,
        }
        return {name: source for name, source in tables.items() if source}


class CohortConfig(Section):
    """The members of the federation and how many must stay."""

    silos: tuple[SiloConfig, ...] = Field(
        (),
        description="The silos and their tables. With a public data set the silos "
        "come from its split, and an entry here only sets a silo's hardware.",
    )
    compute: ComputeConfig = Field(
        default_factory=ComputeConfig, description="Hardware of silos that name none."
    )
    min_silos: int = Field(
        3,
        ge=1,
        le=1000,
        description="Quorum: with fewer silos admitted or trained the run stops. "
        "Below 3, secure aggregation cannot hide silos from each other.",
    )
    deadline_seconds: float = Field(
        3600.0,
        gt=0,
        description="Longest wait for any single step of a silo before it is "
        "left out of that round.",
    )
    shortest_deadline_seconds: float = Field(
        300.0,
        gt=0,
        description="No silo is left out before so long, whatever it took before.",
    )
    deadline_factor: float = Field(
        5.0,
        ge=1.5,
        le=1000,
        description="A step that a silo has done before is given up after so many "
        "times the longest that this silo itself took; silos are never compared, so "
        "none is left out for being slower than others.",
    )
    retries: int = Field(
        2,
        ge=0,
        le=20,
        description="How often a step is tried again, after 1, 2, 4 ... seconds, where "
        "a process died or memory, disk or network were short.",
    )
    restarts: int = Field(
        3,
        ge=0,
        le=1000,
        description="How often in a run the process of one silo is started again.",
    )
    wait_minutes: float = Field(
        10.0,
        ge=0,
        le=100_000,
        description="How long a run below its quorum waits for silos to come back "
        "before it ends; it keeps its state either way.",
    )

    @model_validator(mode="after")
    def _names_are_distinct(self) -> CohortConfig:
        names = [silo.name for silo in self.silos]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"silo {twice[0]} is listed twice; rename one")
        for taken in (POOLED_SILO_NAME, AUDITOR_NAME):
            if taken in names:
                raise ValueError(f"the silo name {taken} is taken; rename it")
        return self
