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
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)

    @model_validator(mode="after")
    def _silos_have_data(self) -> FederatedTrainingConfig:
        silos = self.cohort.silos
        if self.data.dataset is None:
            if not silos:
                raise ValueError(
                    "no silo has data: set data.dataset to ml-100k or ml-1m, or list "
                    "silos with their tables in cohort.silos"
                )
            without = [silo.name for silo in silos if silo.interactions is None]
            if without:
                raise ValueError(
                    f"silo {without[0]} has no interactions table; give "
                    "cohort.silos[].interactions.path"
                )
            if self.evaluation.pooled:
                raise ValueError(
                    "evaluation.pooled needs a public data set: silorec never pools "
                    "the tables of real silos"
                )
            if len(silos) < self.cohort.min_silos:
                raise ValueError(
                    f"cohort.min_silos {self.cohort.min_silos} is above the "
                    f"{len(silos)} silos listed"
                )
            if complaint := self.secure_aggregation.complaint_about(len(silos)):
                raise ValueError(complaint)
        elif any(silo.sources() for silo in silos):
            raise ValueError(
                "data.dataset and the tables of cohort.silos exclude each other; "
                "remove one"
            )
        return self

    @model_validator(mode="after")
    def _corrects_drift(self) -> FederatedTrainingConfig:
        corrects = self.local_training.drift_correction != "none"
        if corrects and (complaint := self._drift_complaint()):
            raise ValueError(complaint)
        return self

    @model_validator(mode="after")
    def _adapts_what_it_has(self) -> FederatedTrainingConfig:
        if self.model.low_rank is None:
            return self
        complaints = {
            "adds to a trained model; set model.init_from to its file": (
                self.model.init_from is None
            ),
            "has no private training; set privacy.mode to off": self.privacy.on,
            "keeps items as they are; set secure_aggregation.min_silos_per_item to 1": (
                self.secure_aggregation.min_silos_per_item > 1
            ),
            "sends all that it trains; set model.personal to none": (
                self.model.personal != "none"
            ),
            "needs no mean gradient of what cannot change; set "
            "local_training.drift_correction to none": (
                self.local_training.drift_correction != "none"
            ),
        }
        if told := next((told for told, true in complaints.items() if true), ""):
            raise ValueError(f"model.low_rank {told}")
        return self

    @model_validator(mode="after")
    def _can_be_personal(self) -> FederatedTrainingConfig:
        if self.model.personal == "none":
            return self
        if self.privacy.on:
            raise ValueError(
                f"model.personal {self.model.personal} has no private training: "
                "privacy.mode noises and charges a model that all silos share; set "
                "model.personal to none or privacy.mode to off"
            )
        rows = self.secure_aggregation.min_silos_per_item
        if self.model.personal == "items" and rows > 1:
            raise ValueError(
                "with model.personal items no row of an item is ever sent, so "
                "secure_aggregation.min_silos_per_item has nothing to leave out; set "
                "it to 1"
            )
        return self

    @model_validator(mode="after")
    def _hides_its_items(self) -> FederatedTrainingConfig:
        if self.preprocessing.item_names == "plain":
            return self
        items = self.model.items
        if items == "auto":
            items = "features" if self.few_people else "table"
        if items != "table":
            raise ValueError(
                "preprocessing.item_names keyed-hash hides which items there are, and "
                f"model.items {items} tells the coordinator their titles and "
                "categories; set model.items to table"
            )
        if self.evaluation.pooled:
            raise ValueError(
                "preprocessing.item_names keyed-hash hides items from whoever has no "
                "key, as the pooled data has none; set evaluation.pooled to false"
            )
        return self

    @property
    def fewest_silos_to_name(self) -> int:
        """Silos that must stock an item that is hidden; 0: items are named plainly."""
        if self.preprocessing.item_names == "plain":
            return 0
        return max(2, self.secure_aggregation.min_silos_per_item)

    @model_validator(mode="after")
    def _keeps_its_privacy(self) -> FederatedTrainingConfig:
        if self.privacy.on and (complaint := self._privacy_complaint()):
            raise ValueError(complaint)
        return self

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

    def _privacy_complaint(self) -> str:
        """What the other sections ask for that a private run must not do."""
        secure, joint = self.secure_aggregation, self.privacy.mode == "joint"
        enough = self.privacy.colluding_silos + 1
        complaints = {
            "preprocessing.protocol global-time counts interactions per day, which "
            "privacy.mode has no noise for; set it to leave-one-out": (
                self.preprocessing.protocol == "global-time"
            ),
            "model.items table+text has a vector per item, whose clipping under "
            "privacy.mode is not made; set it to text": (
                self.model.items == "table+text"
            ),
            "secure_aggregation.min_silos_per_item counts what people use, which "
            "privacy.mode has no noise for; set it to 1": (
                secure.min_silos_per_item > 1
            ),
            "privacy.mode joint needs secure_aggregation.mode masked or "
            "two-aggregators: a share of noise alone hides nobody": (
                joint and secure.mode not in {"masked", "two-aggregators"}
            ),
            "privacy.steps_per_round says how many steps a private silo makes; set "
            "local_training.max_steps and max_seconds to null": (
                self.local_training.max_steps is not None
                or self.local_training.max_seconds is not None
            ),
            "private steps have a loss of their own; set local_training.loss to full "
            "(privacy.negatives samples there), users_at_once to null and "
            "recompute_activations to false": (
                self.local_training.loss != "full"
                or self.local_training.users_at_once is not None
                or self.local_training.recompute_activations
            ),
            "privacy.mode joint makes one step a round from the global model, where "
            "local_training.proximal_strength has nothing to pull; set it to 0": (
                joint and self.local_training.proximal_strength > 0
            ),
            "privacy.mode joint adds all silos up at once; set "
            "secure_aggregation.groups to 1, combine to mean and norm_bound to null": (
                joint and secure.keeps_parts
            ),
            f"privacy.mode joint with privacy.colluding_silos "
            f"{self.privacy.colluding_silos} needs cohort.min_silos {enough} or more: "
            "noise that colluders know hides nobody": (
                joint and self.cohort.min_silos < enough
            ),
        }
        return next((told for told, true in complaints.items() if true), "")

    def _drift_complaint(self) -> str:
        """What the other sections ask for that control variates do not go with."""
        secure = self.secure_aggregation
        complaints = {
            "sends mean gradients, which privacy.mode has no noise for; set it to none "
            "or privacy.mode to off": self.privacy.on,
            "sums gradients, for whose range a narrow ring is too coarse; set "
            "secure_aggregation.ring_bits to 32": secure.ring_bits < 32,
            "needs the mean gradient of every row; set "
            "secure_aggregation.min_silos_per_item to 1": secure.min_silos_per_item > 1,
            "adds all silos up at once, and no defence compares control variates; set "
            "secure_aggregation.groups to 1, combine to mean and norm_bound to null": (
                secure.keeps_parts
            ),
            "needs the mean gradient of every tensor; set model.personal to none": (
                self.model.personal != "none"
            ),
        }
        told = next((told for told, true in complaints.items() if true), "")
        chosen = self.local_training.drift_correction
        return told and f"local_training.drift_correction {chosen} {told}"

    def config_hash(self) -> str:
        """SHA-256 of the sections that may change the result, in canonical JSON."""
        deciding = self.model_dump(
            mode="json",
            exclude={
                "name": True,
                "output_folder": True,
                "continue_unfinished": True,
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
