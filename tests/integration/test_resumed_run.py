"""Runs that Prefect, or somebody who starts the same again, brings to their end."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from data_contracts.errors import QuorumLostError, ResumeError
from data_contracts.records import RunRecord, RunStatus
from data_contracts.run_config import FederatedTrainingConfig
from tasks.lineage.queries import history, runs
from tasks.lineage.store import LineageStore, open_store
from tests.simulators.in_process_cohort import silos_in_process
from tests.simulators.small_federation import NO_COMPARISON, small_config, train
from tests.simulators.synthetic_tables import small_silos, synthetic_silo

pytestmark = pytest.mark.slow

TINY = NO_COMPARISON | {
    "schedule": {"rounds": 3},
    "local_training": {"epochs": 1},
    "model": {"dim": 8, "context": 10, "dropout": 0.1},
    "secure_aggregation": {"ring_bits": 8},
}


@contextmanager
def interrupted(round_number: int, times: int = 1):
    """A round is lost after its sum was opened, so many times."""
    from flows import federated_training as flow

    left, update = [times], flow.update_global_model

    def update_or_stop(model, summed, encoding, optimizer, number, defences):
        if number == round_number and left[0]:
            left[0] -= 1
            raise QuorumLostError("too few silos are left")
        return update(model, summed, encoding, optimizer, number, defences)

    with patch.object(flow, "update_global_model", update_or_stop):
        yield


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return small_silos(tmp_path_factory.mktemp("silos"), ("north", "south", "west"))


@pytest.fixture(scope="module", autouse=True)
def silos_without_ray(prefect_session):
    """What is tested here is between Prefect and the record; silos are objects."""
    with patch("flows.federated_training.open_cohort", silos_in_process):
        yield


@pytest.fixture(scope="module")
def undisturbed(members, tmp_path_factory):
    return models_of(train(small_config(members, tmp_path_factory.mktemp("o"), **TINY)))


def models_of(run) -> tuple[list[str], str]:
    return [row.model_sha256 for row in run.history.rounds], run.published.sha256


def trainings(output) -> list[int]:
    """The round of every training of silo north."""
    file = output / "silos" / "north" / "commitments.jsonl"
    lines = file.read_text("utf-8").splitlines()
    return [int(json.loads(line)["round"].rpartition("/")[2]) for line in lines]


@pytest.mark.parametrize("number", [1, 2])
def test_started_again_the_same_goes_on_and_ends_in_the_same_bytes(
    undisturbed, members, tmp_path, number
):
    config = small_config(members, tmp_path, **TINY)
    with interrupted(number), pytest.raises(QuorumLostError):
        train(config)
    again = train(config)
    assert models_of(again) == undisturbed
    # Before a round is finished there is nothing to go on with: a run of its own.
    recorded = runs(open_store(str(tmp_path)))
    assert len(recorded) == (2 if number == 1 else 1)
    assert trainings(tmp_path) == ([1, 1, 2, 3] if number == 1 else [1, 2, 3])


def test_control_variates_go_on_with_the_run(members, tmp_path):
    scaffold = TINY | {
        "local_training": {"epochs": 1, "drift_correction": "scaffold"},
        "secure_aggregation": {"mode": "masked"},
    }
    undisturbed = train(small_config(members, tmp_path / "one", **scaffold))
    config = small_config(members, tmp_path / "two", **scaffold)
    with interrupted(3), pytest.raises(QuorumLostError):
        train(config)
    assert models_of(train(config)) == models_of(undisturbed)
    assert trainings(tmp_path / "two") == [1, 2, 3]


def test_prefects_own_retries_go_on_with_the_run(undisturbed, members, tmp_path):
    from flows.federated_training import federated_training

    config = small_config(members, tmp_path, continue_unfinished=False, **TINY)
    with interrupted(2, times=2):
        published = federated_training.with_options(retries=2)(config)
    told = history(open_store(str(tmp_path)), published.run_id)
    assert ([row.model_sha256 for row in told.rounds], published.sha256) == undisturbed
    rows = LineageStore(tmp_path).read(RunRecord)
    assert [row.sequence for row in rows] == [0, 1, 2, 3, 4, 5]
    assert len({row.flow_run_id for row in rows}) == 1
    assert trainings(tmp_path) == [1, 2, 3]


def test_other_data_stops_the_run_by_name_until_it_is_put_back(
    undisturbed, members, tmp_path
):
    config = small_config(members, tmp_path / "output", **TINY)
    with interrupted(2), pytest.raises(QuorumLostError):
        train(config)
    other = synthetic_silo(tmp_path, "south", users=60, items=40, seed=9)
    silos = (members[0], other, members[2])
    changed = with_silos(config, silos)
    (run,) = runs(open_store(config.output_folder))
    # The paths are part of what was asked: the tables are changed in place instead.
    with pytest.raises(ResumeError, match="was asked to do something else"):
        resumed(changed, run.run_id)
    with (
        replaced_tables(members[1], other),
        pytest.raises(ResumeError, match="after round 1: silo south brings other data"),
    ):
        resumed(config, run.run_id)
    (stopped,) = runs(open_store(config.output_folder))
    assert stopped.status == RunStatus.FAILED
    published = resumed(config, run.run_id)
    assert published.sha256 == undisturbed[1]


def resumed(config, run_id):
    from flows.federated_training import federated_training

    return federated_training(config, run_id)


def with_silos(config: FederatedTrainingConfig, silos) -> FederatedTrainingConfig:
    cohort = config.cohort.model_copy(update={"silos": silos})
    return config.model_copy(update={"cohort": cohort})


@contextmanager
def replaced_tables(silo, other):
    """The file of the silo's interactions holds other rows for a while."""
    path, new = (Path(one.interactions.path) for one in (silo, other))
    before = path.read_bytes()
    path.write_bytes(new.read_bytes())
    try:
        yield
    finally:
        path.write_bytes(before)


def test_a_flow_run_that_died_is_crashed_in_prefect_once_its_run_goes_on(
    undisturbed, members, tmp_path
):
    """As after SIGKILL: neither Prefect nor the lineage knows that it ended."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.states import Running

    from flows.federated_training import federated_training

    config = small_config(members, tmp_path, **TINY)
    with (
        interrupted(2),
        patch("tasks.lineage.run_lifecycle.record_end"),
        pytest.raises(QuorumLostError),
    ):
        train(config)
    (run,) = runs(open_store(str(tmp_path)))
    assert run.status == RunStatus.RUNNING
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.flow_run_id, Running(), force=True)
        published = federated_training(config)
        state = client.read_flow_run(run.flow_run_id).state
    assert published.run_id == run.run_id
    assert published.sha256 == undisturbed[1]
    assert state.type == StateType.CRASHED
