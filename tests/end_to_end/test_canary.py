"""Values planted in silos' tables are in no byte that is written outside the silos.

Three silos are healthy; east's training crashes with rows in its exception; the
others are refused for a row outside the contract, a torn line, and a text where a
time is needed. Every one of these leads through code that quotes values by habit:
exceptions, readers, Great Expectations, logs, Prefect states, Delta statistics.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow import csv

from data_contracts.code_identity import REPOSITORY
from data_contracts.columns import TableName
from data_contracts.records import Verdict
from data_contracts.settings.cohort import SiloConfig, TableSource
from tasks.lineage.queries import history, runs
from tasks.lineage.store import LineageStore
from tests.simulators.command_line import sandbox
from tests.simulators.leak_search import files, leaks, needles
from tests.simulators.small_federation import small_tree
from tests.simulators.synthetic_tables import synthetic_tables, world

pytestmark = pytest.mark.slow

# In every user id, and in single cells of text.
TEXT = "qzxwv-"
RATING, BAD_RATING, TIME, AGE = 3.1728394, 86753.0917, 1234567891, 98765432101
TIME_TEXTS = ("2009-02-13T23:31:31", "2009-02-13 23:31:31")
SOUGHT = needles((TEXT, *TIME_TEXTS), (RATING, BAD_RATING, TIME, AGE))

Tables = dict[TableName, pa.Table]
Damage = Callable[[Tables, Path], None]


def changed(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    place = table.column_names.index(column)
    return table.set_column(place, column, pa.array(values, table[column].type))


def canary_tables(silo: str, seed: int) -> Tables:
    """Tables that keep the contract; a canary in every column that may not leave."""
    tables = synthetic_tables(
        np.random.default_rng(seed),
        world(np.random.default_rng(0), 100),
        users=60,
        user_prefix=f"{TEXT}{silo}-",
    )
    orders, items, users = (tables[name] for name in TableName)
    orders = changed(orders, "rating", 5, RATING)
    orders = changed(orders, "timestamp", 7, TIME)
    items = changed(items, "title", 2, f"{TEXT}title")
    items = changed(items, "categories", 3, f"{TEXT}category")
    users = changed(users, "age", 4, AGE)
    for column in ("gender", "occupation", "region"):
        users = changed(users, column, 5, f"{TEXT}{column}")
    return dict(zip(TableName, (orders, items, users), strict=True))


def unharmed(tables: Tables, path: Path) -> None:
    pq.write_table(tables[TableName.INTERACTIONS], path)


def with_a_row_outside_the_contract(tables: Tables, path: Path) -> None:
    orders = changed(tables[TableName.INTERACTIONS], "rating", 9, BAD_RATING)
    pq.write_table(changed(orders, "item_id", 9, f"{TEXT}item"), path)


def with_a_torn_line(tables: Tables, path: Path) -> None:
    csv.write_csv(tables[TableName.INTERACTIONS], path)
    with path.open("a", encoding="utf-8") as file:
        file.write(f'"{TEXT}torn","i00001",{RATING},{TIME},"one too many"\n')


def with_a_text_for_a_time(tables: Tables, path: Path) -> None:
    orders = tables[TableName.INTERACTIONS]
    times = pa.array([*orders["timestamp"].cast(pa.string()).to_pylist()[1:], TEXT])
    place = orders.column_names.index("timestamp")
    pq.write_table(orders.set_column(place, "timestamp", times), path)


HEALTHY = ("north", "south", "west")
CRASHING = "east"
REFUSED: dict[str, tuple[str, Damage]] = {
    "outside": ("interactions.parquet", with_a_row_outside_the_contract),
    "torn": ("interactions.csv", with_a_torn_line),
    "mistyped": ("interactions.parquet", with_a_text_for_a_time),
}


def write_silo(folder: Path, silo: str, seed: int) -> SiloConfig:
    name, write = REFUSED.get(silo, ("interactions.parquet", unharmed))
    tables = canary_tables(silo, seed)
    folder.mkdir(parents=True)
    write(tables, folder / name)
    pq.write_table(tables[TableName.ITEMS], folder / "items.parquet")
    pq.write_table(tables[TableName.USERS], folder / "users.parquet")
    return SiloConfig(
        name=silo,
        interactions=TableSource(path=str(folder / name)),
        items=TableSource(path=str(folder / "items.parquet")),
        users=TableSource(path=str(folder / "users.parquet")),
    )


@dataclass(frozen=True)
class CanaryRun:
    """Where everything was written, and what belongs to the silos themselves."""

    tables: Path
    written: Path
    own: list[Path]
    store: LineageStore


@pytest.fixture(scope="module")
def canary_run(tmp_path_factory):
    tables = tmp_path_factory.mktemp("canaries")
    silos = [
        write_silo(tables / silo, silo, seed)
        for seed, silo in enumerate((*HEALTHY, CRASHING, *REFUSED))
    ]
    with sandbox(PYTHONPATH=str(REPOSITORY)) as machine:
        output = machine.folder / "output"
        config = machine.work / "run.yaml"
        config.write_text(yaml.safe_dump(small_tree(silos, output)), "utf-8")
        sabotaged = [sys.executable, "-m", "tests.simulators.sabotaged_command"]
        done = machine.run([*sabotaged, "train", "run.yaml", "--verbose"])
        assert done.returncode == 0, done.stderr
        (machine.folder / "stdout.txt").write_text(done.stdout, "utf-8")
        (machine.folder / "stderr.txt").write_text(done.stderr, "utf-8")
        own = [output / "silos" / silo.name for silo in silos]
        yield CanaryRun(tables, machine.folder, own, LineageStore(output))


def test_the_search_finds_every_canary_in_the_silos_own_tables(canary_run):
    assert set(leaks(SOUGHT, canary_run.tables)) == set(SOUGHT.values()) - set(
        TIME_TEXTS
    )


@pytest.mark.parametrize(
    "place",
    [
        "home/.prefect/prefect.db",
        "ray/session_*/logs/worker-*.err",
        "ray/session_*/logs/gcs_server.out",
        "output/lineage/participants/*.parquet",
        "output/lineage/decisions/_delta_log/*.json",
        "output/models/*.safetensors",
        "output/reports/*.html",
        "stdout.txt",
        "stderr.txt",
    ],
)
def test_the_search_covers_every_kind_of_output(canary_run, place):
    searched = set(files(canary_run.written, canary_run.own))
    assert any(path in searched for path in canary_run.written.glob(place))


def test_the_run_met_all_the_trouble_that_was_planned(canary_run):
    told = history(canary_run.store, runs(canary_run.store)[0].run_id)
    quarantined = {
        row.silo for row in told.decisions if row.verdict == Verdict.SILO_QUARANTINED
    }
    assert quarantined == set(REFUSED)
    crashed = {row.silo: row.reason for row in told.participants if not row.contributed}
    assert set(crashed) == {CRASHING}
    assert crashed[CRASHING].startswith("step crashed: ValueError at tests/simulators/")


def test_no_planted_value_is_written_anywhere_outside_the_silos(canary_run):
    assert leaks(SOUGHT, canary_run.written, canary_run.own) == {}
