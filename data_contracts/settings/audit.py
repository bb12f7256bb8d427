"""The configuration of a privacy audit; it holds no seed."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, model_validator

from data_contracts.errors import ConfigError
from data_contracts.run_config import explain
from data_contracts.settings.base import Section
from data_contracts.settings.training import ModelConfig


class AuditedModelConfig(Section):
    """The small model that is trained with canaries; never one that is used."""

    dim: int = Field(16, ge=8, le=512, description="Width of item vectors and blocks.")
    blocks: int = Field(1, ge=1, le=8, description="Transformer blocks.")
    heads: int = Field(1, ge=1, le=8, description="Attention heads; must divide dim.")
    context: int = Field(8, ge=2, le=512, description="Items of a history it reads.")

    def as_model(self) -> ModelConfig:
        """The architecture, without dropout."""
        return ModelConfig(
            dim=self.dim,
            blocks=self.blocks,
            heads=self.heads,
            context=self.context,
            dropout=0.0,
        )

    @model_validator(mode="after")
    def _is_an_architecture(self) -> AuditedModelConfig:
        self.as_model()
        return self


class PopulationConfig(Section):
    """The made-up users among whom the canaries are hidden."""

    users: int = Field(1500, ge=10, le=1_000_000, description="Made-up users.")
    items: int = Field(200, ge=2, le=100_000, description="Items of their catalogue.")
    history_length: int = Field(9, ge=2, le=10_000, description="Items of a history.")


class CanariesConfig(Section):
    """What is looked for; each joins by a fair coin of the operating system."""

    dirac: int = Field(
        2000,
        ge=40,
        le=100_000,
        description="Canaries with a coordinate of their own beside the model. More of "
        "them prove more: 1000 cannot prove an epsilon above 8.",
    )
    data: int = Field(
        500,
        ge=40,
        le=100_000,
        description="Canaries that are users with a random history and a last item "
        "of their own; each adds a row to the item table.",
    )
    history_length: int = Field(
        2, ge=1, le=100, description="Random items before a data canary's own item."
    )


class AuditedTrainingConfig(Section):
    """What the trainer claims, and the public numbers it claims it for."""

    epsilon: float = Field(
        8.0, gt=0, le=50, description="Claimed privacy of the whole training, per user."
    )
    delta: float = Field(
        1e-5,
        gt=0,
        lt=0.1,
        description="Of the claim. A large one blunts the audit: below 0.01 / canaries "
        "it hardly costs anything.",
    )
    noise_multiplier: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="Noise over clip norm; left out: the least that meets the claim.",
    )
    sampling_probability: float = Field(
        0.25, gt=0, le=1, description="Of a user in a step."
    )
    steps: int = Field(80, ge=1, le=100_000, description="Steps of the training.")
    clip_norm: float = Field(0.5, gt=0, description="L2 bound of a user's gradient.")
    learning_rate: float = Field(0.02, gt=0, le=10, description="Of Adam.")


class PrivacyAuditConfig(Section):
    """Everything one privacy audit needs to know."""

    output_folder: str = Field(
        "silorec_output",
        description="The audit's page and lineage tables are written here.",
    )
    model_version: str | None = Field(
        None,
        description="Hash of the recorded model, or its beginning, that the audit is "
        "kept with; left out: none.",
    )
    confidence: float = Field(
        0.95,
        ge=0.5,
        lt=1,
        description="With which all bounds of the audit hold together.",
    )
    model: AuditedModelConfig = Field(default_factory=AuditedModelConfig)
    population: PopulationConfig = Field(default_factory=PopulationConfig)
    training: AuditedTrainingConfig = Field(default_factory=AuditedTrainingConfig)
    canaries: CanariesConfig = Field(default_factory=CanariesConfig)


def parse_audit_config(values: dict[str, Any], *, origin: str) -> PrivacyAuditConfig:
    """Build the configuration, or explain every mistake in one sentence each.

    Raises:
        ConfigError: one line per mistake.
    """
    try:
        return PrivacyAuditConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, origin))) from None
