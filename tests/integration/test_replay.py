"""Recorded rounds are computed again: the same bits, or the first silo that differs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_contracts.errors import NotRecordedError, UsageError
from data_contracts.records import Verdict
from tests.simulators.small_federation import NO_COMPARISON, small_config, train
from tests.simulators.synthetic_tables import synthetic_silo

pytestmark = pytest.mark.slow


def federation(folder: Path, **sections):
    silos = [
        synthetic_silo(folder / "tables", name, users=60, items=40, seed=seed)
        for seed, name in enumerate(("north", "south", "west"))
    ]
    return train(small_config(silos, folder / "output", **NO_COMPARISON, **sections))


def replayed(run, round_number, **choices):
    from flows.replay import replay

    return replay(
        run.history.run.run_id, round_number, str(run.store_folder), **choices
    )


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory, ray_session, prefect_session):
    """Federated averaging, masked: a round follows from the model before it."""
    return federation(
        tmp_path_factory.mktemp("plain"),
        local_training={"epochs": 1},
        schedule={"rounds": 3},
    )


def test_a_round_computed_again_is_the_same_to_the_last_bit(plain_run):
    found = replayed(plain_run, 3)
    (one,) = found.rounds
    recorded = plain_run.history.rounds[2]
    assert one.replayed_sha256 == recorded.model_sha256
    assert one.replayed_norm == recorded.update_norm
    assert one.silos == {"north": True, "south": True, "west": True}
    assert found.equal
    assert found.cautions == ()


def test_a_replay_records_nothing_and_may_be_repeated(plain_run):
    from tasks.lineage.queries import runs
    from tasks.lineage.store import LineageStore

    models = sorted((plain_run.store_folder / "models").iterdir())
    assert replayed(plain_run, 1).equal
    assert replayed(plain_run, 1).equal
    assert sorted((plain_run.store_folder / "models").iterdir()) == models
    assert len(runs(LineageStore(plain_run.store_folder))) == 1


def test_a_server_with_a_memory_and_a_narrow_ring_are_replayed_from_the_start(
    tmp_path, ray_session, prefect_session
):
    run = federation(
        tmp_path,
        local_training={"epochs": 1},
        # Some candidate is rejected: the rate is cut on the way.
        schedule={"rounds": 4, "max_regression": 0.0},
        server_optimizer={"name": "momentum"},
        secure_aggregation={"ring_bits": 16},
    )
    assert Verdict.REJECTED in {told.verdict for told in run.history.decisions}
    found = replayed(run, 4)
    assert [one.round_number for one in found.rounds] == [1, 2, 3, 4]
    assert found.equal
    assert [one.replayed_norm for one in found.rounds] == [
        row.update_norm for row in run.history.rounds
    ]


def test_control_variates_are_replayed_from_the_start(
    tmp_path, ray_session, prefect_session
):
    recipe = {"epochs": 1, "drift_correction": "scaffold"}
    run = federation(tmp_path, local_training=recipe, schedule={"rounds": 3})
    found = replayed(run, 3)
    assert [one.round_number for one in found.rounds] == [1, 2, 3]
    assert found.equal


def test_other_data_is_refused_and_the_silo_named(plain_run, tmp_path):
    silo = plain_run.config.cohort.silos[1]
    table, kept = Path(silo.interactions.path), tmp_path / "kept.parquet"
    shutil.copy(table, kept)
    pq.write_table(pq.read_table(table).slice(1), table)
    try:
        with pytest.raises(UsageError, match="the data of silo south is not what it"):
            replayed(plain_run, 2)
    finally:
        shutil.copy(kept, table)


def test_an_update_that_differs_is_told_by_the_silo_that_made_it(
    plain_run, monkeypatch
):
    """The record of one silo is forged: its commitment was to another update."""
    from tasks.lineage import task

    read = task.recorded_rounds

    def forged(*args, **kwargs):
        recorded = read(*args, **kwargs)
        for silo in recorded.config.cohort.silos[1:]:
            lines = plain_run.store_folder / "silos" / silo.name / "commitments.jsonl"
            text = lines.read_text("utf-8").replace('"salt": "', '"salt": "00', 1)
            lines.write_text(text, "utf-8")
        return recorded

    monkeypatch.setattr(task, "recorded_rounds", forged)
    (one,) = replayed(plain_run, 1).rounds
    assert one.silos == {"north": True, "south": False, "west": False}
    assert one.equal
    assert one.first_different == "south"


def test_a_round_that_is_not_on_record_is_refused(plain_run):
    with pytest.raises(NotRecordedError, match="no finished round 9; it has 1 to 3"):
        replayed(plain_run, 9)
