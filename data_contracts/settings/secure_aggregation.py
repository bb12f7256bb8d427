"""How silo updates are summed without anybody seeing one of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from data_contracts.secure_sum import SumMode
from data_contracts.settings.base import Section
from data_contracts.settings.cohort import ComputeConfig
from data_contracts.settings.robustness import (
    SMALLEST_GROUP,
    Combine,
    complaint_about_defences,
    silos_needed,
)


class SecureAggregationConfig(Section):
    """How silo updates are summed without anybody seeing one of them."""

    mode: SumMode = Field(
        "masked",
        description="masked: the coordinator sees only masked vectors. homomorphic: "
        "only ciphertexts under a key that all silos share; slower and bigger, needs "
        "silorec[he]. two-aggregators: masks of which an independent auditor knows the "
        "seeds; one message a silo. plain: it sees every update; for debugging, and "
        "the report says so.",
    )
    graph: Literal["auto", "complete"] = Field(
        "auto",
        description="Who shares masks with whom. auto: every pair of up to 200 silos; "
        "above, each with some 50 to 70 others, drawn anew for each sum.",
    )
    manifest: str | None = Field(
        None,
        description="File with the identities that the silos agreed on without the "
        "coordinator; each silo must hold the same. Left out: a silo believes each "
        "identity that it sees first.",
    )
    clip: float = Field(
        4.0,
        gt=0,
        le=1e6,
        description="Coordinates of a weighted update are clipped to +-clip before "
        "they become integers.",
    )
    ring_bits: Literal[32, 16, 8] = Field(
        32,
        description="Bits a silo sends for each parameter and round. 16 and 8 round at "
        "random and make the error good in later rounds; the first round takes 32.",
    )
    min_silos_per_item: int = Field(
        1,
        ge=1,
        le=1000,
        description="An item that fewer silos trained on is left out of the sums, so "
        "its row never shows what a single silo's people did. 1: every item is summed.",
    )
    auditor: ComputeConfig = Field(
        default_factory=ComputeConfig,
        description="Hardware of the auditor of mode two-aggregators: put it on a node "
        "that its own operator controls.",
    )
    homomorphic_max_parameters: int = Field(
        2_000_000,
        ge=1,
        le=100_000_000,
        description="Longest vector that mode homomorphic sums; a silo sends 16 bytes "
        "for each number and receives as many.",
    )
    groups: int = Field(
        1,
        ge=1,
        le=300,
        description="Groups of at least 3 silos whose updates are summed separately, "
        "dealt anew each round; the coordinator learns each group's sum.",
    )
    combine: Combine = Field(
        "mean",
        description="How groups' means (masked) or single updates (plain) become one: "
        "the weighted mean, or, against poisoned ones, median, trimmed-mean, or krum "
        "(plain only).",
    )
    assumed_attackers: int = Field(
        1,
        ge=0,
        le=300,
        description="How many groups or updates median, trimmed-mean and krum must be "
        "able to withstand.",
    )
    norm_bound: float | None = Field(
        None,
        ge=1,
        description="Group means or updates longer than this many times their median "
        "norm are scaled down or left out, by name; left out: not bounded.",
    )
    beyond_norm_bound: Literal["scale", "leave-out"] = Field(
        "scale", description="What happens to what is beyond norm_bound."
    )

    @model_validator(mode="after")
    def _encrypts_whole_words(self) -> SecureAggregationConfig:
        if self.mode == "homomorphic" and self.ring_bits != 32:
            raise ValueError(
                "mode homomorphic encrypts words of 32 bits; set ring_bits to 32, or "
                "mode to masked"
            )
        return self

    @model_validator(mode="after")
    def _defences_go_together(self) -> SecureAggregationConfig:
        complaint = complaint_about_defences(
            self.mode, self.combine, self.groups, self.assumed_attackers,
            self.norm_bound,
        )  # fmt: skip
        if complaint:
            raise ValueError(complaint)
        return self

    @property
    def keeps_parts(self) -> bool:
        """Whether updates are seen in parts, to be compared with each other."""
        return self.groups > 1 or self.combine != "mean" or self.norm_bound is not None

    def complaint_about(self, num_silos: int) -> str:
        """Why so many silos are too few for these settings; empty if they suffice."""
        needed = silos_needed(
            self.mode, self.combine, self.groups, self.assumed_attackers
        )
        if num_silos >= needed:
            return ""
        if self.mode == "plain":
            return (
                f"secure_aggregation.combine {self.combine} against "
                f"{self.assumed_attackers} attackers needs {needed} silos and there "
                f"are {num_silos}; add silos or choose another rule"
            )
        return (
            f"secure_aggregation.groups {self.groups} needs {needed} silos, "
            f"{SMALLEST_GROUP} in each group, and there are {num_silos}; lower groups "
            "or add silos"
        )
