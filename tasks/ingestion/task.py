"""Prefect edge of the ingestion room."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.columns import TableName
from data_contracts.errors import ConfigError
from data_contracts.progress import announce
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.cohort import POOLED_SILO_NAME, SiloConfig
from data_contracts.settings.data import DataConfig, Dataset
from data_contracts.workspace import Cohort, SiloReplies
from tasks.ingestion.downloads import fetch, sources_of
from tasks.ingestion.movielens import LICENCE_NOTICES, read_movielens
from tasks.ingestion.silo_folders import silo_at, split_folder, write_silos
from tasks.ingestion.silo_side import load_tables
from tasks.ingestion.silo_splits import silos_of


@task(
    name="Prepare silos",
    task_run_name="prepare-silos",
    cache_policy=NO_CACHE,
    log_prints=False,
)
def prepare_silos(config: FederatedTrainingConfig) -> tuple[SiloConfig, ...]:
    """The members of the run, each with its tables and its hardware.

    A public data set is fetched, split and written once; silos that bring their own
    tables are taken as they are, and nothing of theirs is read here.

    Raises:
        ConfigError: the data set has no such split, or the split no such silo.
        DataSourceError: the data set cannot be fetched, read or written.
    """
    if config.data.dataset is None:
        silos = config.cohort.silos
    else:
        silos = _public_silos(config, config.data.dataset)
    return tuple(_with_compute(silo, config) for silo in silos)


def pooled_silos(config: FederatedTrainingConfig) -> tuple[SiloConfig, ...]:
    """The pretended silo that holds a public data set as a whole, if it is wanted.

    Real silos are never pooled: without a public data set there is none.
    """
    data = config.data
    if data.dataset is None or not config.evaluation.pooled:
        return ()
    folder = split_folder(_cache(data), data.dataset, data.silo_split)
    return (_with_compute(silo_at(folder, POOLED_SILO_NAME), config),)


@task(
    name="Load silo tables",
    task_run_name="load-silo-tables",
    cache_policy=NO_CACHE,
    log_prints=False,
)
def load_silo_tables(cohort: Cohort) -> SiloReplies[str]:
    """Let every silo read its own tables; replies are snapshot hashes."""
    return cohort.call(load_tables, lasting=True, retry=True)


def _public_silos(
    config: FederatedTrainingConfig, dataset: Dataset
) -> tuple[SiloConfig, ...]:
    data = config.data
    names = silos_of(dataset, data.silo_split)
    unknown = [s.name for s in config.cohort.silos if s.name not in names]
    if unknown:
        raise ConfigError(
            f"cohort.silos: {unknown[0]} is no silo of {dataset} split by "
            f"{data.silo_split}; its silos are {', '.join(names)}."
        )
    announce().note(LICENCE_NOTICES[dataset])
    folder = write_silos(
        _cache(data), dataset, data.silo_split, lambda: _fetched(data, dataset)
    )
    return tuple(silo_at(folder, name) for name in names)


def _fetched(data: DataConfig, dataset: Dataset) -> Mapping[TableName, pa.Table]:
    source, archive = fetch(sources_of(dataset, data.source), _cache(data))
    announce().stage(f"Splitting {dataset} into silos by {data.silo_split}")
    return read_movielens(archive, source)


def _with_compute(silo: SiloConfig, config: FederatedTrainingConfig) -> SiloConfig:
    """The hardware named for this silo, or else the cohort's."""
    named = {s.name: s.compute for s in config.cohort.silos if s.compute}
    return silo.model_copy(
        update={"compute": named.get(silo.name, config.cohort.compute)}
    )


def _cache(data: DataConfig) -> Path:
    # Absolute, because a silo's process may have another working directory.
    return Path(data.cache_folder).expanduser().absolute()
