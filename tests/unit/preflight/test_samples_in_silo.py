"""The tiny pass inside silos of this process: no Prefect, no Ray."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.preflight import coarse
from data_contracts.workspace import Contribution
from models.control_variates import round_start
from models.fixed_point import signed
from models.sequences import SequenceData, Window
from tasks.evaluation.sample import evaluate_sample, sampled
from tasks.evaluation.silo_side import Question, split_sums
from tasks.global_update.task import initialise_global_model, update_global_model
from tasks.local_training import sample
from tasks.local_training.silo_side import RoundJob
from tasks.local_training.task import train_sample_on_silos
from tasks.preflight.silo_side import measure_resources
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.prepared_federation import PreparedFederation


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    return PreparedFederation(tmp_path_factory.mktemp("federation"))


@pytest.fixture
def model(federation):
    return initialise_global_model.fn(
        federation.config.model,
        federation.vocabulary,
        federation.config.server_optimizer,
        None,
    )


@pytest.fixture
def job(federation):
    return job_of(federation, federation.config)


def job_of(federation, config):
    return RoundJob.of(
        config, 1, 0, federation.cohort.silos, federation.prepared.total_examples,
        vocabulary=federation.vocabulary,
    )  # fmt: skip


def test_the_tiny_pass_sends_as_much_as_a_round_with_control_variates(
    federation, model, job
):
    recipe = federation.config.local_training.model_copy(
        update={"drift_correction": "scaffold"}
    )
    config = federation.config.model_copy(update={"local_training": recipe})
    corrected = job_of(federation, config)
    sent = round_start(model, None, recipe)
    assert sent.vector.size == recipe.update_vectors * model.vector.size
    train_sample_on_silos.fn(federation.cohort, sent.vector, corrected, 60.0)
    contribution = federation.cohort.workspaces["north"].get(Contribution)
    assert contribution.kind == corrected.input_kind(sent.vector_hash)
    words = contribution.words.size
    assert words == corrected.encoding.length == job.encoding.length + job.encoding.size
    assert signed(contribution.words)[model.vector.size : -3].any()


def test_the_tiny_pass_moves_the_model_and_uses_up_no_round_of_a_run(
    federation, model, job
):
    trained = train_sample_on_silos.fn(federation.cohort, model.vector, job, 60.0)
    assert set(trained.values) == set(federation.cohort.silos)
    for purpose in ("preflight update", "model update"):
        train_sample_on_silos.fn(federation.cohort, model.vector, job, 60.0)
        summed = aggregate_securely.fn(
            federation.cohort,
            purpose,
            1,
            federation.config.secure_aggregation,
            min_silos=2,
            kind=job.input_kind(model.vector_hash),
        )
        candidate, _ = update_global_model.fn(
            model, summed, job.encoding, federation.config.server_optimizer, 1
        )
    assert np.isfinite(candidate.vector).all()
    assert candidate.vector_hash != model.vector_hash
    workspace = federation.cohort.workspaces["north"]
    assert not (workspace.folder / "commitments.jsonl").exists()


def test_a_sample_is_no_longer_than_it_may_be(federation, model, job, monkeypatch):
    asked = []
    monkeypatch.setattr(
        sample, "step", lambda *args: asked.append(1) or 0.5, raising=True
    )
    workspace = federation.cohort.workspaces["north"]
    sample.train_sample(workspace, model.vector, job)
    assert len(asked) == sample.SAMPLE_BATCHES + 1
    monkeypatch.setattr(sample, "SAMPLE_SECONDS", 0.0)
    sample.train_sample(workspace, model.vector, job)
    # The first warms up, the second is timed.
    assert len(asked) == sample.SAMPLE_BATCHES + 3


def test_times_leave_with_two_digits_so_that_they_do_not_count_a_silos_users(
    federation, model, job
):
    workspace = federation.cohort.workspaces["north"]
    told = sample.train_sample(workspace, model.vector, job)
    assert told.seconds_per_batch == coarse(told.seconds_per_batch) > 0
    assert told.round_seconds == coarse(told.round_seconds)
    batches = job.training.epochs * -(-40 // job.training.batch_size)
    assert told.round_seconds == pytest.approx(
        batches * told.seconds_per_batch, rel=0.2, abs=0.05
    )


def test_without_passes_there_is_nothing_to_time(federation, model):
    none = federation.config.local_training.model_copy(update={"epochs": 0})
    config = federation.config.model_copy(update={"local_training": none})
    workspace = federation.cohort.workspaces["north"]
    told = sample.train_sample(workspace, model.vector, job_of(federation, config))
    assert told.seconds_per_batch == 0
    assert workspace.has(Contribution)


def test_only_a_batch_of_users_is_ranked_for(federation, model, monkeypatch):
    monkeypatch.setattr("tasks.evaluation.sample.USERS_PER_BATCH", 7)
    question = Question.of(
        federation.config, Window.VALIDATION, federation.cohort.silos
    )
    workspace = federation.cohort.workspaces["north"]
    told = evaluate_sample(workspace, model.vector, question)
    words = workspace.get(Contribution).words
    sums, _ = split_sums(words.astype(np.int64))
    assert sums.users == 7
    assert told.round_seconds > 0


def test_sampling_leaves_the_sequences_as_they_are(federation):
    data = federation.cohort.workspaces["north"].get(SequenceData)
    some = sampled(data, data.held_out_users(Window.TEST)[:3])
    assert some.held_out_users(Window.TEST).tolist() == [0, 1, 2]
    assert some.num_examples == data.num_examples


def test_a_silo_tells_memory_and_disk_with_two_digits(federation):
    told = measure_resources(federation.cohort.workspaces["north"])
    for value in (
        told.peak_memory_bytes,
        told.free_memory_bytes,
        told.free_disk_bytes,
    ):
        assert value == coarse(value) > 0
    assert "/" not in told.machine
