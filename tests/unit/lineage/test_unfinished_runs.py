"""Which run a flow continues."""

from __future__ import annotations

import pytest

from data_contracts.code_identity import code_hash
from data_contracts.errors import NotRecordedError, ResumeError
from data_contracts.records import RunStatus
from data_contracts.run_config import parse_config
from tasks.lineage.run_lock import sole_worker
from tasks.lineage.run_state import run_folder
from tasks.lineage.store import LineageStore
from tasks.lineage.unfinished_runs import run_to_continue
from tests.simulators.recorded_runs import run_record

CONFIG = parse_config({"data": {"dataset": "ml-100k"}, "name": "weekly"}, origin="test")
ALIKE = {"config_hash": CONFIG.config_hash(), "code_hash": code_hash()}


@pytest.fixture
def store(tmp_path):
    return LineageStore(tmp_path)


@pytest.fixture
def recorded(store, tmp_path):
    """Records a run, with a finished round; its folder."""

    def record(run_id="run1", status=RunStatus.RUNNING, rounds=1, **changes):
        row = run_record(run_id, **ALIKE | {"flow_run_id": f"flow-{run_id}"} | changes)
        store.append([row], run_id=run_id, step="status-0")
        if status != RunStatus.RUNNING:
            end = run_record(run_id, 1, **ALIKE | {"status": status} | changes)
            store.append([end], run_id=run_id, step="status-1")
        folder = run_folder(tmp_path, run_id)
        folder.mkdir(parents=True)
        if rounds:
            (folder / "round-000001.00.safetensors").touch()
        return folder

    return record


def chosen(store, tmp_path, config=CONFIG, flow_run_id="flow-new", wanted=None):
    run = run_to_continue(
        store, str(tmp_path), config, flow_run_id=flow_run_id, wanted=wanted
    )
    return run and run.run_id


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.FAILED])
def test_an_interrupted_run_like_this_one_is_continued(
    store, recorded, tmp_path, status
):
    recorded(status=status)
    assert chosen(store, tmp_path) == "run1"


NOT_CONTINUED = {
    "completed": {"status": RunStatus.COMPLETED},
    "without a finished round": {"rounds": 0},
    "of another configuration": {"config_hash": "c9" * 32},
    "of other code": {"code_hash": "c8" * 32},
    "of another name": {"name": "monthly"},
}


@pytest.mark.parametrize("other", NOT_CONTINUED.values(), ids=NOT_CONTINUED)
def test_no_other_run_is_continued_unasked(store, recorded, tmp_path, other):
    recorded(**other)
    assert chosen(store, tmp_path) is None


def test_a_run_that_is_worked_on_is_left_alone(store, recorded, tmp_path):
    with sole_worker(recorded()):
        assert chosen(store, tmp_path) is None


def test_whoever_wants_to_start_anew_does(store, recorded, tmp_path):
    recorded()
    anew = CONFIG.model_copy(update={"continue_unfinished": False})
    assert anew.config_hash() == CONFIG.config_hash()
    assert chosen(store, tmp_path, anew) is None


def test_a_flow_run_that_is_started_again_goes_on_with_its_own_run(
    store, recorded, tmp_path
):
    recorded("run1", rounds=0)
    recorded("run2")
    anew = CONFIG.model_copy(update={"continue_unfinished": False})
    assert chosen(store, tmp_path, anew, flow_run_id="flow-run1") == "run1"


def test_a_run_that_is_asked_for_is_continued_whatever_code_made_it(
    store, recorded, tmp_path
):
    recorded("run1", code_hash="c8" * 32, rounds=0)
    recorded("run2")
    assert chosen(store, tmp_path, wanted="run1") == "run1"


def test_what_cannot_be_continued_is_said(store, recorded, tmp_path):
    recorded("run1", RunStatus.COMPLETED)
    recorded("run2", config_hash="c9" * 32)
    with pytest.raises(ResumeError, match="run1 is completed"):
        chosen(store, tmp_path, wanted="run1")
    with pytest.raises(ResumeError, match="run1 is completed"):
        chosen(store, tmp_path, flow_run_id="flow-run1")
    with pytest.raises(ResumeError, match="run2 was asked to do something else"):
        chosen(store, tmp_path, wanted="run2")
    with pytest.raises(NotRecordedError):
        chosen(store, tmp_path, wanted="run9")
