"""Serve one silo: its champion, its people, its items, inside it.

What the rooms can do, put together: the registry says which model, its signature is
verified, the silo's own tensors and item ids go in, its tables say who used what.
"""

from __future__ import annotations

from pathlib import Path

import torch
from fastapi import FastAPI

from data_contracts.columns import TableName
from data_contracts.errors import ConfigError
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.serving import ServingConfig
from data_contracts.tables import SiloTables
from tasks.ingestion.tables import read_table
from tasks.ingestion.task import prepare_silos
from tasks.lineage.published import read_published, training_of
from tasks.lineage.registry import only_federation, read_registry
from tasks.lineage.signatures import publisher
from tasks.lineage.store import open_store
from tasks.recommendation.candidates import allowed_items
from tasks.recommendation.own_model import as_the_silo_has_it
from tasks.serving.api import serving_app
from tasks.serving.engine import Engine, Source
from tasks.serving.served import People, Served


def application(config: ServingConfig, token_sha256: str | None) -> FastAPI:
    """The application of one silo, with its model loaded, watching for the next.

    Args:
        config: what to serve.
        token_sha256: hash of the token that requests must bear; None: none.

    Raises:
        SilorecError: there is no such model or silo, or its tables cannot be read.
    """
    torch.set_num_threads(config.threads)
    engine = Engine(source_of(config))
    engine.watch(config.poll_seconds, config.refresh_seconds)
    return serving_app(
        engine,
        max_history=config.max_history,
        max_k=config.max_k,
        token_sha256=token_sha256,
    )


def source_of(config: ServingConfig) -> Source:
    """Where the silo's models and people come from."""
    folder = Path(config.output_folder).expanduser().resolve()
    store = open_store(str(folder))
    federation = only_federation(store, config.federation)
    trusted = config.trusted_publisher or publisher(folder)

    def wanted() -> str:
        return read_registry(store, federation).find(config.model_version).sha256

    def load(sha256: str, people: People) -> Served:
        version = read_registry(store, federation).find(sha256)
        training = training_of(store, version)
        names, own_folder = training.preprocessing.item_names, folder / "silos"
        own = as_the_silo_has_it(
            read_published(folder, version, trusted), own_folder / config.silo, names
        )
        tables = _tables(training, config.silo, TableName.ITEMS)
        allowed = allowed_items(config.silo, tables, own.items, config.items)
        return Served.of(own, allowed, people.uses, config.approximate_above)

    def people() -> People:
        version = read_registry(store, federation).find(wanted())
        training = training_of(store, version)
        tables = _tables(training, config.silo, TableName.INTERACTIONS)
        return People.of(tables.tables[TableName.INTERACTIONS])

    return Source(wanted, load, people)


def _tables(
    training: FederatedTrainingConfig, name: str, table: TableName
) -> SiloTables:
    """One of the silo's tables, if it brings that."""
    silos = {silo.name: silo for silo in prepare_silos.fn(training)}
    if name not in silos:
        raise ConfigError(
            f"{training.name} has no silo {name}; its silos are {', '.join(silos)}"
        )
    sources = silos[name].sources()
    found = {table: read_table(sources[table], table)} if table in sources else {}
    return SiloTables(found, "")
