"""The room's edge: who takes part, with which tables and which hardware."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.columns import TableName
from data_contracts.errors import ConfigError, FailureReason
from data_contracts.progress import Silence, listening
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.cohort import SiloConfig
from data_contracts.tables import SiloTables
from tasks.ingestion import task as ingestion
from tasks.ingestion.downloads import Origin, sources_of
from tasks.ingestion.movielens import LICENCE_NOTICES, read_movielens
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.movielens_archives import SMALL, movielens_archive
from tests.simulators.synthetic_tables import synthetic_silo

GPU = {"num_cpus": 4, "num_gpus": 1}


class Notes(Silence):
    """Keeps the notes of a run."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, sentence: str) -> None:
        self.heard.append(sentence)


@pytest.fixture
def small_movielens(tmp_path, monkeypatch):
    """A tiny invented ml-1m instead of the network."""
    archive = movielens_archive(tmp_path, "ml-1m", Origin.OFFICIAL)

    def fetch(sources, cache: Path):
        return sources_of("ml-1m", "official")[0], archive

    monkeypatch.setattr(ingestion, "fetch", fetch)
    monkeypatch.setattr(
        ingestion,
        "read_movielens",
        lambda file, source: read_movielens(file, source, SMALL),
    )


def public(tmp_path, *silos, split="age") -> FederatedTrainingConfig:
    return FederatedTrainingConfig.model_validate(
        {
            "data": {
                "dataset": "ml-1m",
                "silo_split": split,
                "cache_folder": str(tmp_path / "cache"),
            },
            "cohort": {"silos": silos, "compute": {"num_cpus": 0.5}},
            "evaluation": {"pooled": True},
        }
    )


@pytest.mark.usefixtures("small_movielens")
def test_a_public_data_set_becomes_silos_with_tables_and_hardware(tmp_path):
    config = public(tmp_path, {"name": "heritage-club", "compute": GPU})
    notes = Notes()
    with listening(notes):
        silos = ingestion.prepare_silos.fn(config)
    assert [silo.name for silo in silos] == [
        *("youth-channel", "city-magazine", "family-network", "heritage-club")
    ]
    assert [silo.compute.num_cpus for silo in silos] == [0.5, 0.5, 0.5, 4]
    assert all(
        Path(s.path).is_file() for silo in silos for s in silo.sources().values()
    )
    assert notes.heard == [LICENCE_NOTICES["ml-1m"]]


@pytest.mark.usefixtures("small_movielens")
def test_the_pooled_silo_holds_what_all_silos_hold(tmp_path):
    config = public(tmp_path)
    ingestion.prepare_silos.fn(config)
    cohort = InProcessCohort(ingestion.pooled_silos(config), tmp_path)
    ingestion.load_silo_tables.fn(cohort)
    tables = cohort.workspaces["pooled"].get(SiloTables).tables
    assert len(tables[TableName.INTERACTIONS]) == SMALL.interactions


def test_hardware_for_a_silo_the_split_does_not_have_is_refused(tmp_path):
    config = public(tmp_path, {"name": "campus", "compute": GPU})
    with pytest.raises(ConfigError) as caught:
        ingestion.prepare_silos.fn(config)
    assert "campus is no silo of ml-1m split by age" in caught.value.message
    assert "youth-channel, city-magazine" in caught.value.message


def test_an_unknown_split_is_refused_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(ingestion, "fetch", lambda *_: pytest.fail("fetched"))
    data = {"dataset": "ml-100k", "silo_split": "taste", "cache_folder": str(tmp_path)}
    config = FederatedTrainingConfig.model_validate({"data": data})
    with pytest.raises(ConfigError, match="ml-100k has no split taste"):
        ingestion.prepare_silos.fn(config)


def own(*silos: SiloConfig) -> FederatedTrainingConfig:
    return FederatedTrainingConfig.model_validate(
        {"cohort": {"silos": silos, "min_silos": 1, "compute": {"threads": 2}}}
    )


def test_own_tables_are_taken_as_they_are(tmp_path):
    north = synthetic_silo(tmp_path, "north", users=4, items=8, seed=0)
    south = SiloConfig.model_validate(
        north.model_dump() | {"name": "south", "compute": GPU}
    )
    silos = ingestion.prepare_silos.fn(own(north, south))
    assert [silo.sources() for silo in silos] == [north.sources()] * 2
    assert [(s.compute.threads, s.compute.num_gpus) for s in silos] == [(2, 0), (1, 1)]


def test_real_silos_are_never_pooled(tmp_path):
    north = synthetic_silo(tmp_path, "north", users=4, items=8, seed=0)
    assert ingestion.pooled_silos(own(north)) == ()


def test_loading_replies_with_hashes_and_keeps_going_past_a_broken_silo(tmp_path):
    silos = [
        synthetic_silo(tmp_path, name, users=4, items=8, seed=seed)
        for seed, name in enumerate(("north", "south", "west"))
    ]
    (tmp_path / "south" / "items.parquet").write_text("damaged")
    cohort = InProcessCohort(silos, tmp_path / "workspaces")
    replies = ingestion.load_silo_tables.fn(cohort)
    assert tuple(replies.values) == ("north", "west")
    assert all(len(value) == 64 for value in replies.values.values())
    assert replies.failures["south"].reason is FailureReason.BAD_INPUT
    assert "items" in replies.failures["south"].sentence
