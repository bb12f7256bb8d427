"""The configuration of a federated training run: one frozen, typed tree.

The YAML file, the CLI flags and the form in the Prefect UI are this model. A run's
`config_hash` covers every field that may change the result.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from data_contracts.combinations import complaint
from data_contracts.errors import ConfigError
from data_contracts.settings.base import Section
from data_contracts.settings.cohort import CohortConfig
from data_contracts.settings.data import (
    ContractConfig,
    DataConfig,
    PreprocessingConfig,
)
from data_contracts.settings.evaluation import EvaluationConfig
from data_contracts.settings.privacy import USERS_FOR_AN_ITEM_TABLE, PrivacyConfig
from data_contracts.settings.retraining import RetrainingConfig
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.settings.training import (
    LocalTrainingConfig,
    ModelConfig,
    ScheduleConfig,
    ServerOptimizerConfig,
)


class ClusterConfig(Section):
    """Where silo actors run; changes speed and place, never the result."""

    ray_address: str | None = Field(
        None,
        description="Address of a running Ray cluster (`auto`, `ray://host:10001`); "
        "left out: a local one, started and stopped with the run.",
    )
    silos_at_once: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Silos that work at the same time; left out: one per CPU core of "
        "a local cluster, all of them on a running one.",
    )


class FederatedTrainingConfig(Section):
    """Everything one federated training run needs to know."""

    name: str = Field(
        "federated-training",
        pattern=r"^[a-z0-9][a-z0-9-]{0,59}$",
        description="Name of the run series in tables and reports.",
    )
    output_folder: str = Field(
        "silorec_output",
        description="Lineage tables, models and reports are written here.",
    )
    continue_unfinished: bool = Field(
        True,
        description="Go on with the latest run that was asked to do the same, was "
        "interrupted after a finished round, and has no process any more; no: always "
        "start anew.",
    )
    data: DataConfig = Field(default_factory=DataConfig)
    cohort: CohortConfig = Field(default_factory=CohortConfig)
    contracts: ContractConfig = Field(default_factory=ContractConfig)
    preprocessing: PreprocessingConfig = Field(default_factory=PreprocessingConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    local_training: LocalTrainingConfig = Field(default_factory=LocalTrainingConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    secure_aggregation: SecureAggregationConfig = Field(
        default_factory=SecureAggregationConfig
    )
    server_optimizer: ServerOptimizerConfig = Field(
        default_factory=ServerOptimizerConfig
    )
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    privacy: PrivacyConfig = Field(default_factory=PrivacyConfig)
    retraining: RetrainingConfig = Field(default_factory=RetrainingConfig)
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)

    @model_validator(mode="after")
    def _goes_together(self) -> FederatedTrainingConfig:
        if told := complaint(self):
            raise ValueError(told)
        return self

    @property
    def fewest_silos_to_name(self) -> int:
        """Silos that must stock an item that is hidden; 0: items are named plainly."""
        if self.preprocessing.item_names == "plain":
            return 0
        return max(2, self.secure_aggregation.min_silos_per_item)

    @property
    def few_people(self) -> bool:
        """Whether a private run has too few people for a vector per item."""
        people = (self.privacy.declared_users or 0) * self.cohort.min_silos
        return self.privacy.on and people < USERS_FOR_AN_ITEM_TABLE

    @property
    def told_contracts(self) -> ContractConfig:
        """The data contract, without counts of rows in a private run."""
        if not self.privacy.on:
            return self.contracts
        return self.contracts.model_copy(update={"tell_counts": False})

    @property
    def decided_training(self) -> LocalTrainingConfig:
        """The local recipe, with `scored_items` decided."""
        if self.local_training.scored_items != "auto":
            return self.local_training
        ranked = self.evaluation.candidates
        scored = "stocked" if ranked == "silo-catalogue" else "vocabulary"
        if self.model.reads_text:
            scored = "trained"
        return self.local_training.model_copy(update={"scored_items": scored})

    @property
    def moving_optimizer(self) -> ServerOptimizerConfig:
        """What moves the global model: with joint noise, Adam along mean gradients."""
        if self.privacy.mode != "joint":
            return self.server_optimizer
        return ServerOptimizerConfig(
            name="adam",
            learning_rate=self.privacy.learning_rate,
            momentum=0.9,
            second_momentum=0.99,
            epsilon=1e-8,
            weighting="uniform",
        )

    def config_hash(self) -> str:
        """SHA-256 of the sections that may change the result, in canonical JSON."""
        deciding = self.model_dump(
            mode="json",
            exclude={
                "name": True,
                "output_folder": True,
                "continue_unfinished": True,
                "retraining": True,
                "cluster": True,
            },
        )
        text = json.dumps(deciding, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def parse_config(values: dict[str, Any], *, origin: str) -> FederatedTrainingConfig:
    """Build the configuration, or explain every mistake in one sentence each.

    Args:
        values: the tree as read from YAML, flags or JSON.
        origin: file name or other source, for the message.

    Raises:
        ConfigError: one line per mistake: where, what, and what would be allowed.
    """
    try:
        return FederatedTrainingConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, origin))) from None


def explain(error: ValidationError, origin: str) -> list[str]:
    """One sentence per mistake, naming the key by its dotted path."""
    sentences = []
    for mistake in error.errors(include_url=False):
        where = ".".join(str(part) for part in mistake["loc"]) or "the configuration"
        what = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            what = "unknown key; `silorec init` lists every key there is"
        elif mistake["type"] != "value_error":  # our own sentences name the value
            what = f"{what[0].lower()}{what[1:]}, got {_shown(mistake['input'])}"
        sentences.append(f"{origin}: {where}: {what}.")
    return sentences


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a YAML configuration as a plain tree.

    Raises:
        ConfigError: the file is missing, unreadable, not YAML or not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; `silorec init {path}` writes an example."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({type(error).__name__}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}: not valid YAML{line}.") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of sections at the top level.")
    return tree
