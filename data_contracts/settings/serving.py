"""How one silo answers requests for recommendations."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, model_validator

from data_contracts.errors import ConfigError
from data_contracts.run_config import explain
from data_contracts.settings.base import Section
from data_contracts.settings.cohort import SiloName
from data_contracts.settings.recommendation import ItemRules

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class ServingConfig(Section):
    """Everything that serving one silo needs to know."""

    output_folder: str = Field(
        "silorec_output", description="Output folder of the run that made the model."
    )
    federation: str | None = Field(
        None,
        description="Name of the runs; left out: the only one with a published model.",
    )
    silo: SiloName = Field(description="The silo whose people and items are served.")
    model_version: str = Field(
        "champion",
        description="champion: whatever is in use, changed without a pause. Or the "
        "hash of a published model, or the id of its run, for good.",
    )
    trusted_publisher: str | None = Field(
        None,
        description="Public key, as `silorec models publisher` prints it; models that "
        "another key signed are refused. Left out: the key in the output folder.",
    )
    items: ItemRules = Field(default_factory=ItemRules)
    host: str = Field("127.0.0.1", description="Address to listen at.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen at.")
    token_file: str | None = Field(
        None,
        description="File with the token that requests must bear; without one only "
        "this machine is answered.",
    )
    ray_address: str | None = Field(
        None,
        description="Address of the silo's own Ray cluster; left out: a local one.",
    )
    replicas: int = Field(1, ge=1, le=64, description="Processes that answer.")
    threads: int = Field(
        1, ge=1, le=256, description="CPU threads torch may use in each of them."
    )
    poll_seconds: float = Field(
        5.0, gt=0, le=3600, description="Between two looks for another champion."
    )
    refresh_seconds: float = Field(
        600.0,
        gt=0,
        le=86_400,
        description="Between two readings of the silo's tables, for what its people "
        "did in the meantime.",
    )
    max_history: int = Field(
        1000, ge=1, le=100_000, description="Longest history in a request."
    )
    max_k: int = Field(100, ge=1, le=1000, description="Most items in an answer.")
    approximate_above: int = Field(
        1_000_000,
        ge=1,
        description="Catalogues with more items are searched by an approximate index "
        "(extra `ann`); smaller ones exactly.",
    )

    @model_validator(mode="after")
    def _listens_where_it_may(self) -> ServingConfig:
        if self.host not in LOOPBACK and self.token_file is None:
            raise ValueError(
                f"host {self.host} can be reached from other machines; give token_file "
                "with a token that requests must bear, or listen at 127.0.0.1"
            )
        return self


def parse_serving_config(values: dict[str, Any], *, origin: str) -> ServingConfig:
    """Build the configuration, or explain every mistake in one sentence each.

    Raises:
        ConfigError: one line per mistake.
    """
    try:
        return ServingConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, origin))) from None
