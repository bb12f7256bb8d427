"""Rounds of the rooms' own tasks over silos in this process: no Prefect, no Ray."""

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import (
    FailureReason,
    NotFiniteError,
    QuorumLostError,
    SiloError,
)
from data_contracts.records import Subject
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import Contribution
from models.recommenders.building import layout_for
from models.sequences import SequenceData, Window
from tasks.evaluation.silo_side import Question
from tasks.evaluation.task import evaluate_baselines, evaluate_on_silos
from tasks.global_update.task import initialise_global_model, update_global_model
from tasks.local_training.silo_side import (
    AloneJob,
    RoundJob,
    hand_over_pooled_model,
    train_alone,
)
from tasks.local_training.task import train_on_silos
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.prepared_federation import PreparedFederation


def first_model(federation):
    return initialise_global_model.fn(
        federation.config.model,
        federation.vocabulary,
        federation.config.server_optimizer,
        None,
    )


def play_round(federation, model, round_number=1, *, secure=None, **agreed):
    config, cohort = federation.config, federation.cohort
    if secure:
        config = config.model_copy(update={"secure_aggregation": secure})
    if round_number == 1:
        federation.begin_run()
    job = RoundJob.of(
        config, round_number, 0, cohort.silos, federation.prepared.total_examples,
        vocabulary=federation.vocabulary, **agreed,
    )  # fmt: skip
    trained = train_on_silos.fn(cohort, model.vector, job, config.cohort)
    summed = aggregate_securely.fn(
        cohort.only(trained.values),
        "model update",
        round_number,
        config.secure_aggregation,
        min_silos=2,
        kind=job.input_kind(model.vector_hash),
    )
    candidate, mean = update_global_model.fn(
        model, summed, job.encoding, config.server_optimizer, round_number
    )
    return candidate, mean, trained, summed


def play(federation, rounds=2):
    model = first_model(federation)
    for round_number in range(1, rounds + 1):
        model, *_ = play_round(federation, model, round_number)
    return model


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    return PreparedFederation(tmp_path_factory.mktemp("federation"))


def evaluated(federation, vector, window=Window.TEST):
    question = Question.of(federation.config, window, federation.cohort.silos)
    return evaluate_on_silos.fn(
        federation.cohort, federation.sum_securely, vector, question
    )


@pytest.mark.parametrize(
    "order", [lambda silos: silos[::-1], lambda silos: silos[2:] + silos[:2]]
)
def test_whatever_order_silos_answer_in_the_model_is_bit_identical(
    federation, tmp_path, order
):
    other = PreparedFederation(tmp_path, order)
    assert play(other).vector_hash == play(federation).vector_hash


def test_homomorphic_rounds_give_the_model_that_masked_rounds_give(
    federation, tmp_path
):
    pytest.importorskip("tenseal")
    other = PreparedFederation(tmp_path, secure_aggregation={"mode": "homomorphic"})
    assert play(other).vector_hash == play(federation).vector_hash


def test_two_aggregators_make_the_same_model(federation, tmp_path):
    other = PreparedFederation(tmp_path, secure_aggregation={"mode": "two-aggregators"})
    assert play(other).vector_hash == play(federation).vector_hash


def test_training_together_beats_popularity(federation):
    model = first_model(federation)
    for round_number in range(1, 7):
        model, *_ = play_round(federation, model, round_number)
    question = Question.of(federation.config, Window.TEST, federation.cohort.silos)
    popularity = evaluate_baselines.fn(
        federation.cohort, federation.sum_securely, question
    )[0]
    assert popularity.subject is Subject.POPULARITY
    assert evaluated(federation, model.vector).ndcg > popularity.ndcg


@pytest.mark.parametrize("ring_bits", [16, 8])
def test_a_narrow_ring_sends_less_and_learns_as_much(federation, ring_bits):
    secure = SecureAggregationConfig(ring_bits=ring_bits)
    wide = narrow = first_model(federation)
    mean, sent = None, []
    for round_number in range(1, 7):
        wide, *_ = play_round(federation, wide, round_number)
    for round_number in range(1, 7):
        narrow, mean, _, summed = play_round(
            federation,
            narrow,
            round_number,
            secure=secure,
            last_mean=None if mean is None else mean.update,
        )
        sent.append(max(summed.bytes_up.values()))
    assert sent[0] > 4 * len(wide.vector)
    saved = (4 - ring_bits // 8) * len(wide.vector)
    assert sent[-1] == pytest.approx(sent[0] - saved, abs=50)
    ndcg = evaluated(federation, wide.vector).ndcg
    assert evaluated(federation, narrow.vector).ndcg == pytest.approx(ndcg, rel=0.1)
    assert narrow.vector_hash != wide.vector_hash


def test_rows_of_items_that_too_few_silos_train_on_stay_as_they_begin(federation):
    admitted = np.arange(federation.vocabulary.size) % 3 > 0
    before = first_model(federation)
    *_, everything = play_round(federation, before)
    after, _, _, summed = play_round(federation, before, admitted=admitted)
    layout = layout_for(federation.config.model, federation.vocabulary.size)
    rows = [layout.split(model.vector)["items.weight"] for model in (before, after)]
    moved = (rows[0] != rows[1]).any(axis=1)
    assert moved.tolist() == admitted.tolist()
    saved = sum(everything.bytes_up.values()) - sum(summed.bytes_up.values())
    assert saved == 4 * 4 * layout.split(before.vector)["items.weight"][~admitted].size


def test_a_silo_whose_update_is_not_finite_is_left_out_with_its_reason(federation):
    step = "train_round"
    federation.cohort.sabotage["south", step] = NotFiniteError("not a finite number")
    try:
        _, mean, trained, summed = play_round(federation, first_model(federation))
    finally:
        federation.cohort.sabotage.clear()
    assert trained.failures["south"].reason is FailureReason.NOT_FINITE
    assert summed.contributors == ("north", "west", "east")
    assert mean.weight < 0.9


def test_an_update_that_is_not_finite_is_refused_inside_the_silo(federation):
    model = first_model(federation)
    broken = replace(model, vector=np.full_like(model.vector, np.nan))
    with pytest.raises(QuorumLostError, match=str(FailureReason.NOT_FINITE)):
        play_round(federation, broken)
    assert not federation.cohort.workspaces["north"].has(Contribution)


def test_a_silo_that_vanishes_while_uploading_leaves_the_exact_mean_of_the_others(
    federation,
):
    model = first_model(federation)
    federation.cohort.sabotage["west", "upload_masked_input"] = SiloError("gone")
    try:
        _, mean, _, summed = play_round(federation, model)
    finally:
        federation.cohort.sabotage.clear()
    assert summed.contributors == ("north", "south", "east")
    assert list(summed.dropped) == ["west"]
    federation.cohort.sabotage["west", "train_round"] = SiloError("absent")
    try:
        _, without, _, _ = play_round(federation, model)
    finally:
        federation.cohort.sabotage.clear()
    assert np.array_equal(mean.update, without.update)


def test_hidden_metrics_give_the_same_pooled_figures_within_rounding(
    federation, tmp_path
):
    vector = first_model(federation).vector
    shown = evaluated(federation, vector)
    hidden = PreparedFederation(tmp_path, evaluation={"per_silo_metrics": False})
    only_sums = evaluated(hidden, vector)
    assert only_sums.per_silo == {}
    users = shown.pooled.users
    for one, other in zip(
        shown.pooled.values(), only_sums.pooled.values(), strict=True
    ):
        assert abs(one - other) <= len(shown.per_silo) / 512
    assert (
        only_sums.pooled.users
        == users
        == sum(
            len(w.get(SequenceData).held_out_users(Window.TEST))
            for w in federation.cohort.workspaces.values()
        )
    )
    assert {row.silo for row in only_sums.records("run", 1)} == {"all silos"}


def test_a_model_trained_alone_never_leaves_a_real_silo(federation):
    workspace = federation.cohort.workspaces["north"]
    initial = first_model(federation).vector
    assert train_alone(workspace, initial, AloneJob.of(federation.config)) is None
    with pytest.raises(SiloError, match="does not hand out"):
        hand_over_pooled_model(workspace)


def test_weights_are_shares_of_examples_or_equal(federation, tmp_path):
    _, by_examples, _, _ = play_round(federation, first_model(federation))
    assert by_examples.weight == pytest.approx(1.0, abs=1e-6)
    equal = PreparedFederation(tmp_path, server_optimizer={"weighting": "uniform"})
    equal.cohort.sabotage["west", "train_round"] = SiloError("absent")
    _, uniform, _, _ = play_round(equal, first_model(equal))
    assert uniform.weight == pytest.approx(0.75, abs=1e-6)


def test_by_roots_all_silos_weigh_one_together_and_a_big_one_less_than_its_share(
    federation, tmp_path
):
    by_roots = PreparedFederation(
        tmp_path, server_optimizer={"weighting": "root-examples"}
    )
    model = first_model(by_roots)
    candidate, mean, *_ = play_round(by_roots, model)
    assert mean.weight == pytest.approx(1.0, abs=1e-6)
    sizes = np.array(
        [w.get(SequenceData).num_examples for w in by_roots.cohort.workspaces.values()]
    )
    assert by_roots.prepared.total_examples == sum(
        round(256 * size**0.5) for size in sizes.tolist()
    )
    other, *_ = play_round(federation, first_model(federation))
    assert candidate.vector_hash != other.vector_hash


def test_the_silos_module_is_warm_and_still_a_function_of_its_arguments(federation):
    model = first_model(federation)
    first, *_ = play_round(federation, model)
    again, *_ = play_round(federation, model)
    assert first.vector_hash == again.vector_hash
