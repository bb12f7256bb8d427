"""A published model with what belongs to it: its verified file and its training."""

from __future__ import annotations

import json
from pathlib import Path

from data_contracts.recommendations import SavedModel
from data_contracts.records import ModelVersionRecord, RunRecord
from data_contracts.run_config import FederatedTrainingConfig, parse_config
from tasks.lineage.model_files import load_model
from tasks.lineage.signatures import verify_model
from tasks.lineage.store import LineageStore


def read_published(
    folder: Path, version: ModelVersionRecord, trusted: str
) -> SavedModel:
    """The content of a model that this publisher signed.

    Args:
        folder: output folder.
        version: the model.
        trusted: public key of the publisher, hex.

    Raises:
        LineageError: file, card or signature is missing, damaged or somebody else's.
    """
    verify_model(folder, version, trusted)
    content = load_model(Path(version.path))
    return SavedModel(
        version.sha256,
        version.run_id,
        version.round_number,
        content.vocabulary,
        content.tensors,
        content.metadata,
    )


def training_of(
    store: LineageStore, version: ModelVersionRecord
) -> FederatedTrainingConfig:
    """The configuration of the run that published a model.

    Its output folder is where the store lies now: the run may have been started by a
    command in another folder.

    Raises:
        ConfigError: an older version of silorec wrote it, with other settings.
    """
    run = store.read(RunRecord, run_id=version.run_id)[-1]
    config = parse_config(json.loads(run.config_json), origin=f"run {run.run_id}")
    return config.model_copy(update={"output_folder": str(store.folder)})
