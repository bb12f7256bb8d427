"""The durable end of a round: what comes back, what is refused, who may work."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_contracts.errors import LineageError, ResumeError
from data_contracts.run_config import FederatedTrainingConfig, parse_config
from data_contracts.standing import Standing
from models.global_model import fresh_model, moved
from models.recommenders.building import initial_vector, layout_for
from models.vocabulary import Vocabulary
from tasks.lineage.model_files import save_model
from tasks.lineage.recorded_run import RecordedRun
from tasks.lineage.run_lock import is_worked_on, sole_worker
from tasks.lineage.run_state import (
    RunState,
    read_state,
    require_same_silos,
    run_folder,
    state_files,
    write_state,
)
from tasks.lineage.task import continue_run
from tasks.lineage.write_ahead import Commit
from tests.simulators.recorded_runs import model_record, participant_record, run_record
from tests.simulators.sequence_samples import TINY_MODEL

VOCABULARY = Vocabulary(f"i{number}" for number in range(7))
SNAPSHOTS = {"north": "3a", "south": "4b"}


def config(**sections: object) -> FederatedTrainingConfig:
    tree = {"data": {"dataset": "ml-100k"}, "model": TINY_MODEL.model_dump()}
    return parse_config(tree | sections, origin="test")


def save(output: Path, settings: FederatedTrainingConfig, rounds: int) -> RunState:
    """A run whose first round made the best model, saved after every round."""
    start = fresh_model(
        initial_vector(settings.model, VOCABULARY.size), settings.server_optimizer
    )
    state = RunState.at_start(
        start, tuple(SNAPSHOTS), SNAPSHOTS, "", agreement="a9", total_examples=70
    )
    layout = layout_for(settings.model, VOCABULARY.size)
    for number in range(1, rounds + 1):
        update = np.random.default_rng(number).normal(size=start.vector.size)
        model = moved(state.model, update, settings.server_optimizer)
        standing = Standing(best=0.3, best_round=1, cuts=number - 1)
        corrected = settings.local_training.drift_correction != "none"
        after = state.after(
            number, model, standing, update, update / 3 if corrected else None
        )
        file = save_model(output, layout.split(model.vector), {}, VOCABULARY.items)
        version = model_record("run1", number, "")
        version = replace(version, sha256=file.sha256, path=str(file.path))
        state = after.recorded(version)
        rows = (participant_record("run1", number, "north"),)
        commit = Commit("run1", f"round-{number}", "c1", rows)
        write_state(run_folder(output, "run1"), state, commit, settings)
    return state


MEMORIES = {
    "nothing": {},
    "moments": {"server_optimizer": {"name": "yogi"}},
    "the last mean": {"secure_aggregation": {"ring_bits": 8}},
    "control variates": {"local_training": {"drift_correction": "scaffold"}},
}


@pytest.mark.parametrize("sections", MEMORIES.values(), ids=MEMORIES)
def test_everything_that_the_next_round_needs_comes_back_bit_for_bit(
    tmp_path, sections
):
    settings = config(**sections)
    saved = save(tmp_path, settings, 3)
    found, commit = read_state(run_folder(tmp_path, "run1"), settings, VOCABULARY)
    assert commit.step == "round-3"
    assert commit.records == (participant_record("run1", 3, "north"),)
    for field in (
        "round_number", "cohort", "standing", "version", "best_version", "agreement",
        "total_examples",
    ):  # fmt: skip
        assert getattr(found, field) == getattr(saved, field)
    assert found.snapshots == SNAPSHOTS
    assert found.model.vector_hash == saved.model.vector_hash
    assert found.best.tobytes() == saved.best.tobytes()
    assert found.best.tobytes() != found.model.vector.tobytes()
    for name in ("first", "second"):
        before, after = (
            getattr(state.model.server_state, name) for state in (saved, found)
        )
        assert before.tobytes() == after.tobytes()
    if "secure_aggregation" in sections:
        assert found.last_mean.tobytes() == saved.last_mean.tobytes()
    if "local_training" in sections:
        assert found.variate.tobytes() == saved.variate.tobytes()
    else:
        assert found.variate is None


def test_the_newest_state_counts_and_two_are_kept(tmp_path):
    save(tmp_path, config(), 4)
    files = state_files(run_folder(tmp_path, "run1"))
    assert [path.name.split(".")[0] for path in files] == [
        "round-000003", "round-000004"
    ]  # fmt: skip


def test_without_a_finished_round_there_is_no_state(tmp_path):
    assert read_state(run_folder(tmp_path, "run1"), config(), VOCABULARY) is None


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_a_damaged_state_is_one_sentence_and_moved_away_gives_the_one_before(
    tmp_path, damage
):
    save(tmp_path, config(), 3)
    folder = run_folder(tmp_path, "run1")
    newest = state_files(folder)[-1]
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    changed = {"cut": content[:100], "bit": content, "empty": b""}[damage]
    newest.write_bytes(bytes(changed))
    with pytest.raises(ResumeError, match=r"round-000003.* is damaged .* move it away"):
        read_state(folder, config(), VOCABULARY)
    newest.unlink()
    found, _ = read_state(folder, config(), VOCABULARY)
    assert found.round_number == 2


def test_a_missing_model_is_one_sentence(tmp_path):
    state = save(tmp_path, config(), 1)
    Path(state.version.path).unlink()
    with pytest.raises(LineageError, match="there is no model"):
        read_state(run_folder(tmp_path, "run1"), config(), VOCABULARY)


CHANGES = {
    "silo south is missing": {"cohort": ("north",)},
    "silo west was not in it": {"cohort": ("north", "south", "west")},
    "silo south brings other data": {"snapshots": SNAPSHOTS | {"south": "5c"}},
    "model.init_from is another model": {"base_sha256": "77"},
    "the silos agreed on other items, .* fails meanwhile": {"agreement": "b0"},
}


@pytest.mark.parametrize("sentence", CHANGES)
def test_other_silos_data_or_base_are_another_run(tmp_path, sentence):
    state = save(tmp_path, config(), 1)
    require_same_silos("run1", state, state)
    with pytest.raises(ResumeError, match=f"after round 1: {sentence}; set that right"):
        require_same_silos("run1", state, replace(state, **CHANGES[sentence]))


def test_a_state_that_knows_no_agreement_goes_on_with_any(tmp_path):
    state = save(tmp_path, config(), 1)
    require_same_silos("run1", replace(state, agreement=""), state)


@pytest.mark.parametrize(("kept", "weighted_by"), [(70, 70), (0, 55)])
def test_rounds_go_on_with_the_weights_they_began_with(tmp_path, kept, weighted_by):
    settings = config()
    state = replace(save(tmp_path, settings, 1), total_examples=kept)
    run = RecordedRun(str(tmp_path), run_record("run1", 2), settings)
    commit = Commit("run1", "round-1", "c1", ())
    for old in state_files(run.folder):
        old.unlink()
    write_state(run.folder, state, commit, settings)
    start = replace(state, round_number=0, total_examples=55)
    assert continue_run.fn(run, start, VOCABULARY).total_examples == weighted_by


def test_rounds_that_are_left(tmp_path):
    state = save(tmp_path, config(), 2)
    assert list(state.rounds_left(4)) == [3, 4]
    assert list(state.rounds_left(2)) == []
    stopped = replace(state, standing=replace(state.standing, stopped=True))
    assert list(stopped.rounds_left(4)) == []


def hold(folder: Path, held, done) -> None:
    with sole_worker(folder):
        held.set()
        done.wait()


def test_one_process_works_on_a_run_and_a_killed_one_leaves_no_lock(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    worker = context.Process(target=hold, args=(tmp_path / "run1", held, done))
    worker.start()
    assert held.wait(60)
    assert is_worked_on(tmp_path / "run1")
    with (
        pytest.raises(ResumeError, match="another process is working on run run1"),
        sole_worker(tmp_path / "run1"),
    ):
        pass
    worker.kill()
    worker.join()
    assert not is_worked_on(tmp_path / "run1")
