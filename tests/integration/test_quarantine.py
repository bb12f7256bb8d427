"""Silos with unusable tables are kept out, and the others go on, or stop by quorum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.records import RunStatus, Verdict
from data_contracts.settings.cohort import SiloConfig, TableSource
from tasks.reporting.report import report_path
from tests.simulators.small_federation import NO_COMPARISON, small_config, train
from tests.simulators.synthetic_tables import synthetic_silo

pytestmark = pytest.mark.slow

HEALTHY = ("north", "south", "west")


def missing(path: Path, table: pa.Table) -> None:
    path.unlink()


def corrupt(path: Path, table: pa.Table) -> None:
    content = bytearray(path.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    path.write_bytes(content[:-100])


def with_another_column(path: Path, table: pa.Table) -> None:
    pq.write_table(table.rename_columns({"user_id": "who"}), path)


def with_another_type(path: Path, table: pa.Table) -> None:
    yes = pa.array(np.ones(len(table), dtype=bool))
    place = table.column_names.index("timestamp")
    pq.write_table(table.set_column(place, "timestamp", yes), path)


def empty(path: Path, table: pa.Table) -> None:
    pq.write_table(table.slice(0, 0), path)


def of_three_users(path: Path, table: pa.Table) -> None:
    few = [f"of-three-users-u{number:05d}" for number in range(3)]
    rows = np.isin(table["user_id"].to_numpy(), few)
    pq.write_table(table.filter(pa.array(rows)), path)


# What was done to the interaction table, and what the quarantine says.
DAMAGES = {
    missing: "does not exist where the silo runs",
    corrupt: "cannot be read as parquet",
    with_another_column: "has no column user_id for user_id",
    with_another_type: "column timestamp of type bool cannot become timestamp",
    empty: "has no rows",
    of_three_users: "snapshot.users breaks `expect_column_values_to_be_between`",
}


def name_of(damage) -> str:
    return damage.__name__.replace("_", "-")


def damaged_silo(folder: Path, damage, seed: int = 9) -> SiloConfig:
    silo = synthetic_silo(folder, name_of(damage), users=60, items=100, seed=seed)
    assert isinstance(silo.interactions, TableSource)
    path = Path(silo.interactions.path)
    damage(path, pq.read_table(path))
    return silo


def healthy_silos(folder: Path, number: int) -> list[SiloConfig]:
    return [
        synthetic_silo(folder, name, users=60, items=100, seed=seed)
        for seed, name in enumerate(HEALTHY[:number])
    ]


@pytest.fixture(scope="module")
def quarantine_run(tmp_path_factory, ray_session, prefect_session):
    """Three healthy silos and one of every damage."""
    folder = tmp_path_factory.mktemp("quarantine")
    members = [
        *healthy_silos(folder, 3),
        *(damaged_silo(folder, damage) for damage in DAMAGES),
    ]
    return train(small_config(members, folder / "output", **NO_COMPARISON))


def quarantines(run) -> dict[str, str]:
    return {
        row.silo: row.sentence
        for row in run.history.decisions
        if row.verdict == Verdict.SILO_QUARANTINED
    }


@pytest.mark.parametrize("damage", DAMAGES, ids=name_of)
def test_a_damaged_silo_is_quarantined_with_its_reason(quarantine_run, damage):
    sentence = quarantines(quarantine_run)[name_of(damage)]
    assert sentence.startswith(f"silo {name_of(damage)} is quarantined: ")
    assert DAMAGES[damage] in sentence


def test_the_run_goes_on_with_the_healthy_silos_only(quarantine_run):
    history = quarantine_run.history
    assert history.run.status == RunStatus.COMPLETED
    assert history.run.silos == len(HEALTHY) + len(DAMAGES)
    assert {row.silo for row in history.participants} == set(HEALTHY)
    assert [row.contributors for row in history.rounds] == [3, 3]


def test_every_quarantine_is_told_to_the_person_who_watches(quarantine_run):
    assert set(quarantine_run.notes) == set(quarantines(quarantine_run).values())


def test_the_report_says_who_is_in_quarantine(quarantine_run):
    folder = quarantine_run.config.output_folder
    text = Path(report_path(quarantine_run.history, folder)).read_text("utf-8")
    assert all(name_of(damage) in text for damage in DAMAGES)
