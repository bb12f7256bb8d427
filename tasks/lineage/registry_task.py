"""The tasks around which model is in use: champion, decisions, retrainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.errors import ConfigError
from data_contracts.progress import announce
from data_contracts.recommendations import SavedModel
from data_contracts.records import (
    MetricRecord,
    ModelVersionRecord,
    ParticipantRecord,
    PrivacyRecord,
    RetrainingRecord,
    RunRecord,
)
from data_contracts.retraining import Ruling
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.cohort import SiloConfig
from tasks.lineage.published import read_published, training_of
from tasks.lineage.registry import only_federation, read_registry, set_stage
from tasks.lineage.signatures import publisher
from tasks.lineage.store import LineageStore, open_store


@dataclass(frozen=True)
class Incumbent:
    """A federation's champion and what it learned from.

    Attributes:
        version: None before the first.
        snapshots: silo -> hash of the tables that went into its last round there.
        noise_multiplier: of its private training; 0 if that was not private.
    """

    version: ModelVersionRecord | None = None
    snapshots: Mapping[str, str] = field(default_factory=dict)
    noise_multiplier: float = 0.0

    @property
    def sha256(self) -> str:
        """Hash of the champion; empty before the first."""
        return self.version.sha256 if self.version else ""

    def warm_start(self, config: FederatedTrainingConfig) -> FederatedTrainingConfig:
        """The training that starts from the champion, as far as there is one."""
        if self.version is None:
            return config
        model = config.model.model_copy(update={"init_from": self.version.path})
        return config.model_copy(update={"model": model})


@task(name="Find champion", cache_policy=NO_CACHE)
def find_champion(config: FederatedTrainingConfig) -> Incumbent:
    """The model that a federation uses now, and what it learned from.

    Raises:
        LineageError: the tables cannot be read.
    """
    store = _store(config)
    version = read_registry(store, config.name).champion
    if version is None:
        return Incumbent()
    charged = store.read(PrivacyRecord, run_id=version.run_id)
    noise = max((row.noise_multiplier for row in charged), default=0.0)
    return Incumbent(version, _snapshots(store, version.run_id), noise)


@dataclass(frozen=True)
class PublishedModel:
    """A model that a run published, and the training that made it.

    Attributes:
        model: the content of its file.
        training: what that run did.
    """

    model: SavedModel
    training: FederatedTrainingConfig

    def chosen(
        self, silos: Sequence[SiloConfig], names: Sequence[str]
    ) -> tuple[SiloConfig, ...]:
        """The silos of these names; without names, all of them.

        Raises:
            ConfigError: the federation has no silo of such a name.
        """
        known = {silo.name: silo for silo in silos}
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{self.training.name} has no silo {name}; its silos are "
                    f"{', '.join(known)}"
                )
        return tuple(known[name] for name in names or known)


@task(name="Find published model", cache_policy=NO_CACHE)
def find_published_model(
    folder: str, federation: str | None, model: str
) -> PublishedModel:
    """A model as it was published, verified, with the training that made it.

    Args:
        folder: output folder of the run.
        federation: name of the runs; None: the only one with a published model.
        model: `champion`, or a model or run, or its beginning.

    Raises:
        NotRecordedError: there is none, or a choice.
        LineageError: its file, card or signature is missing or damaged.
    """
    place = Path(folder).expanduser().resolve()
    store = open_store(str(place))
    version = read_registry(store, only_federation(store, federation)).find(model)
    saved = read_published(place, version, publisher(place))
    return PublishedModel(saved, training_of(store, version))


@task(name="Find undecided model", cache_policy=NO_CACHE)
def find_undecided(
    config: FederatedTrainingConfig, snapshots: Mapping[str, str]
) -> ModelVersionRecord | None:
    """A model that this very training published, and nobody has decided on yet.

    A retraining that dies between training and decision leaves one behind; the next
    retraining judges it instead of training it again.

    Args:
        config: of the training, with the model that it starts from.
        snapshots: silo -> hash of its tables now.
    """
    store = _store(config)
    registry = read_registry(store, config.name)
    wanted = config.config_hash()
    same = {row.run_id for row in store.read(RunRecord) if row.config_hash == wanted}
    for version in reversed(registry.versions):
        undecided = version.run_id in same and version.sha256 not in registry.standing
        if undecided and _snapshots(store, version.run_id) == dict(snapshots):
            return version
    return None


@task(name="Read metrics", cache_policy=NO_CACHE)
def read_metrics(
    config: FederatedTrainingConfig, run_id: str
) -> tuple[MetricRecord, ...]:
    """Every metric on record of a run."""
    return _store(config).read(MetricRecord, run_id=run_id)


@task(
    name="Decide on model",
    task_run_name="{ruling.outcome}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def decide_on_model(
    config: FederatedTrainingConfig,
    version: ModelVersionRecord,
    ruling: Ruling,
) -> None:
    """Put a decision on a published model on record.

    Raises:
        LineageError: the store cannot be written.
    """
    if ruling.stage is None:
        return
    set_stage(
        _store(config),
        config.name,
        version,
        ruling.stage,
        decided_by=ruling.decided_by,
        sentence=ruling.sentence,
    )
    announce().note(f"Model {version.sha256[:12]} is {ruling.stage.value} now.")


@task(
    name="Record retraining",
    task_run_name="{record.outcome}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
)
def record_retraining(
    config: FederatedTrainingConfig, record: RetrainingRecord
) -> RetrainingRecord:
    """Put a retraining and its end on record.

    Raises:
        LineageError: the store cannot be written.
    """
    _store(config).append([record], run_id=record.run_id, step="retraining")
    announce().note(f"Retraining {record.outcome}: {record.sentence}.")
    return record


def _snapshots(store: LineageStore, run_id: str) -> dict[str, str]:
    """Silo -> hash of what it put into the last round that it contributed to."""
    rows = store.read(ParticipantRecord, run_id=run_id)
    return {row.silo: row.data_snapshot_hash for row in rows if row.contributed}


def _store(config: FederatedTrainingConfig) -> LineageStore:
    return open_store(str(Path(config.output_folder).expanduser().resolve()))
