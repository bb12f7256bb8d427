"""Silos on disk: written once, complete or not at all, with a pooled twin."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_contracts.columns import TableName
from data_contracts.errors import DataSourceError
from tasks.ingestion import silo_folders
from tasks.ingestion.downloads import Origin, sources_of
from tasks.ingestion.movielens import read_movielens
from tasks.ingestion.silo_folders import silo_at, split_folder, write_silos
from tests.simulators.movielens_archives import SMALL, movielens_archive


@pytest.fixture
def tables(tmp_path):
    archive = movielens_archive(tmp_path, "ml-1m", Origin.OFFICIAL)
    return read_movielens(archive, sources_of("ml-1m", "official")[0], SMALL)


def never():
    raise AssertionError("the silos are there already")


def test_silos_and_their_pool_lie_in_one_folder(tmp_path, tables):
    folder = write_silos(tmp_path, "ml-1m", "age", lambda: tables)
    assert folder == tmp_path / "silos" / "ml-1m-age-v1"
    assert sorted(silo.name for silo in folder.iterdir()) == [
        *("city-magazine", "family-network", "heritage-club", "pooled"),
        "youth-channel",
    ]
    pooled = silo_at(folder, "pooled")
    for name, source in pooled.sources().items():
        assert pq.read_table(source.path) == tables[name]


def test_a_complete_folder_is_reused(tmp_path, tables):
    first = write_silos(tmp_path, "ml-1m", "age", lambda: tables)
    assert write_silos(tmp_path, "ml-1m", "age", never) == first


def test_a_folder_with_a_missing_file_is_built_anew(tmp_path, tables):
    folder = write_silos(tmp_path, "ml-1m", "age", lambda: tables)
    lost = folder / "pooled" / "items.parquet"
    lost.unlink()
    write_silos(tmp_path, "ml-1m", "age", lambda: tables)
    assert lost.is_file()
    assert not list(folder.parent.glob(".partial-*"))


def test_an_interrupted_build_leaves_no_folder(tmp_path, tables, monkeypatch):
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(silo_folders, "flush", stop)
    with pytest.raises(KeyboardInterrupt):
        write_silos(tmp_path, "ml-1m", "age", lambda: tables)
    assert list((tmp_path / "silos").iterdir()) == []


def test_of_two_builders_the_slower_takes_what_the_faster_wrote(tmp_path, tables):
    def faster_first():
        write_silos(tmp_path, "ml-1m", "age", lambda: tables)
        return tables

    folder = write_silos(tmp_path, "ml-1m", "age", faster_first)
    assert silo_folders.is_complete(folder, ("youth-channel", "pooled"))
    assert os.listdir(folder.parent) == [folder.name]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, tables):
    (tmp_path / "silos").write_text("a file where the folder should be")
    with pytest.raises(DataSourceError, match=r"data\.cache_folder"):
        write_silos(tmp_path, "ml-1m", "age", lambda: tables)


def test_a_silo_is_configured_with_its_three_parquet_files(tmp_path):
    silo = silo_at(split_folder(tmp_path, "ml-1m", "age"), "youth-channel")
    assert tuple(silo.sources()) == tuple(TableName)
    assert silo.users is not None
    assert silo.users.path.endswith("ml-1m-age-v1/youth-channel/users.parquet")
