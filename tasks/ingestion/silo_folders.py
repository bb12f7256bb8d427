"""A public data set on disk, as if its silos had brought it: one folder per silo.

    <cache>/silos/<dataset>-<split>-v1/<silo>/{interactions,items,users}.parquet

Beside the silos lies `pooled`: what at least one of them holds, for the comparison
that trains on everything. The folder of a split appears under its name complete, or
not at all, and is reused by later runs. `v1` names the rules of the splits: raise it
when a rule changes, or old folders would be reused.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.columns import TableName
from data_contracts.errors import DataSourceError
from data_contracts.settings.cohort import POOLED_SILO_NAME, SiloConfig, TableSource
from data_contracts.settings.data import Dataset, SiloSplit
from tasks.ingestion.downloads import flush
from tasks.ingestion.silo_share import union
from tasks.ingestion.silo_splits import silos_of, split_silos


def split_folder(cache: Path, dataset: Dataset, split: SiloSplit) -> Path:
    """Where the silos of a split lie."""
    return cache / "silos" / f"{dataset}-{split}-v1"


def write_silos(
    cache: Path,
    dataset: Dataset,
    split: SiloSplit,
    tables: Callable[[], Mapping[TableName, pa.Table]],
) -> Path:
    """Write the silos of a split unless they are there; the folder that holds them.

    Args:
        cache: folder of `data.cache_folder`.
        dataset: the public data set.
        split: how it becomes silos.
        tables: gives the canonical tables; called only if they are needed.

    Raises:
        ConfigError: this data set has no such split.
        DataSourceError: the cache cannot be written.
    """
    folder = split_folder(cache, dataset, split)
    if is_complete(folder, (*silos_of(dataset, split), POOLED_SILO_NAME)):
        return folder
    whole = tables()
    shares = split_silos(whole, dataset, split)
    shares[POOLED_SILO_NAME] = union(shares.values())
    parts = {silo: share.of(whole) for silo, share in shares.items()}
    try:
        _publish(parts, folder)
    except OSError as error:
        raise DataSourceError(
            f"{folder} cannot be written ({type(error).__name__}); free the disk or "
            "set data.cache_folder to a folder that can be."
        ) from None
    return folder


def is_complete(folder: Path, silos: tuple[str, ...]) -> bool:
    """Whether every table of every silo is there."""
    return all(_file(folder / s, name).is_file() for s in silos for name in TableName)


def silo_at(folder: Path, silo: str) -> SiloConfig:
    """The configuration of a silo whose tables lie in `folder/silo`."""
    source = {
        name: TableSource(path=str(_file(folder / silo, name)), format="parquet")
        for name in TableName
    }
    return SiloConfig(
        name=silo,
        interactions=source[TableName.INTERACTIONS],
        items=source[TableName.ITEMS],
        users=source[TableName.USERS],
    )


def _file(silo_folder: Path, name: TableName) -> Path:
    return silo_folder / f"{name}.parquet"


def _publish(parts: Mapping[str, Mapping[TableName, pa.Table]], folder: Path) -> None:
    """Build beside, flush, then rename: complete or not there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as partial:
        built = Path(partial) / folder.name
        for silo, tables in parts.items():
            (built / silo).mkdir(parents=True)
            for name, table in tables.items():
                pq.write_table(table, _file(built / silo, name))
                flush(_file(built / silo, name))
            flush(built / silo)
        flush(built)
        try:
            built.rename(folder)
        except OSError:
            # Another run was faster, or somebody has deleted a file of the folder.
            if not is_complete(folder, tuple(parts)):
                shutil.rmtree(folder)
                built.rename(folder)
        flush(folder.parent)
