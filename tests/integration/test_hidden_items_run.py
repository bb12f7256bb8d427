"""A whole run whose coordinator never sees an item id, and its replay."""

from __future__ import annotations

import json
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest

from data_contracts.hidden_names import NAMES_FILE
from tasks.vocabulary.item_key import ITEM_KEY, make_item_key
from tests.simulators.in_process_cohort import silos_in_process
from tests.simulators.leak_search import leaks
from tests.simulators.small_federation import small_config, train
from tests.simulators.synthetic_tables import small_silos

pytestmark = pytest.mark.slow

SILOS = ("north", "south", "west")
HIDDEN = {"preprocessing": {"item_names": "keyed-hash"}}


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return small_silos(tmp_path_factory.mktemp("silos"), SILOS)


@pytest.fixture(scope="module")
def ids(members) -> set[str]:
    table = pq.read_table(members[0].interactions.path)
    return set(table["item_id"].to_pylist())


@pytest.fixture(scope="module")
def run(members, tmp_path_factory, prefect_session):
    output = tmp_path_factory.mktemp("output")
    make_item_key(output / "silos" / "north")
    for silo in SILOS[1:]:
        key = output / "silos" / "north" / ITEM_KEY
        make_item_key(output / "silos" / silo, key)
    with (
        patch("flows.federated_training.open_cohort", silos_in_process),
        patch("flows.replay.open_cohort", silos_in_process),
    ):
        yield train(small_config(members, output, **HIDDEN))


def test_the_model_knows_names_and_learns_as_well(run, members, tmp_path):
    with patch("flows.federated_training.open_cohort", silos_in_process):
        plain = train(small_config(members, tmp_path))
    (file,) = run.store_folder.glob("models/*.vocabulary.json")
    names = json.loads(file.read_text("utf-8"))
    assert {len(name) for name in names} == {32}

    def popularity(one):
        return {
            (row.silo, row.metric): row.value
            for row in one.history.metrics
            if row.subject == "popularity"
        }

    # Counting does not depend on what things are called.
    assert popularity(run) == pytest.approx(popularity(plain))


def test_no_file_outside_the_silos_holds_an_id(run, ids):
    sought = {f'"{item}"'.encode(): item for item in ids}
    sought |= {f"'{item}'".encode(): item for item in ids}
    own = [run.store_folder / "silos"]
    assert len(ids) == 40
    assert leaks(sought, run.store_folder, own) == {}
    north = run.store_folder / "silos" / "north" / NAMES_FILE
    kept = set(pq.read_table(north)["item_id"].to_pylist())
    assert kept == ids


def test_a_round_can_be_replayed_by_those_who_have_the_key(run):
    from flows.replay import replay

    found = replay(run.published.run_id, 1, str(run.store_folder))
    assert found.equal
