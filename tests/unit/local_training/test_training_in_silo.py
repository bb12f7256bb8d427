"""Training steps inside a silo: what is shelved, what is said, what is refused."""

import hashlib
import json
import stat
from dataclasses import fields, replace

import numpy as np
import pytest

from data_contracts.errors import NotFiniteError, QuorumLostError, SiloError
from data_contracts.round_outcome import TrainingReceipt
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.cohort import POOLED_SILO_NAME, CohortConfig
from data_contracts.workspace import Contribution
from models.fixed_point import FixedPoint, signed
from models.full_ranking import Ranking
from models.parameters import AloneModel, write_vector
from models.ranking_metrics import MetricSums
from models.recommenders.building import (
    build_recommender,
    history_scorer,
    initial_vector,
)
from models.sequences import SequenceData, Window
from models.vocabulary import StockedItems, Vocabulary
from models.weighted_mean import Block
from tasks.local_training.commitments import commit_to
from tasks.local_training.silo_side import (
    AloneJob,
    RoundJob,
    hand_over_pooled_model,
    train_alone,
    train_round,
)
from tasks.local_training.task import train_for_comparison, train_on_silos
from tasks.local_training.trainer import train, training_seed
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.sequence_samples import TINY_MODEL, TINY_TRAINING, cycling_users

ITEMS = 20
SILOS = ("north", "south", "west")
HISTORIES = [np.arange(3, dtype=np.int32)]
START = initial_vector(TINY_MODEL, ITEMS)
CONFIG = FederatedTrainingConfig.model_validate(
    {
        "data": {"dataset": "ml-100k"},
        "model": TINY_MODEL,
        "local_training": TINY_TRAINING,
        "schedule": {"rounds": 3},
    }
)
TOTAL_EXAMPLES = 1000
VOCABULARY = Vocabulary(f"i{item:02}" for item in range(ITEMS))
JOB = RoundJob.of(CONFIG, 1, 0, SILOS, TOTAL_EXAMPLES, vocabulary=VOCABULARY)


@pytest.fixture
def cohort(tmp_path):
    """Silos that hold sequences of 20, 21, 22 and 23 users."""
    cohort = InProcessCohort((*SILOS, POOLED_SILO_NAME), tmp_path)
    for number, workspace in enumerate(cohort.workspaces.values()):
        workspace.put(cycling_users(20 + number, ITEMS, length=9, seed=number))
        workspace.put(VOCABULARY)
        workspace.put(StockedItems(np.ones(ITEMS, dtype=bool)))
    return cohort


@pytest.fixture
def north(cohort):
    return cohort.workspaces["north"]


def shelved(workspace, job):
    words = workspace.get(Contribution).words
    return job.encoding.decode(signed(words))


def test_what_is_shelved_is_the_difference_that_training_made(north):
    train_round(north, START, JOB)
    module = build_recommender(TINY_MODEL, ITEMS)
    write_vector(module, START)
    data = north.get(SequenceData)
    loss = train(
        module, data, TINY_TRAINING, context=TINY_MODEL.context,
        learning_rate=JOB.learning_rate, seed=training_seed(0, "north", 1),
    )  # fmt: skip
    mean = shelved(north, JOB)
    difference = np.concatenate([p.detach().ravel() for p in module.parameters()])
    weight = data.num_examples / TOTAL_EXAMPLES
    step = FixedPoint.of(4.0, 3).resolution / weight
    assert np.abs(mean.update - (difference - START)).max() <= 1.01 * step
    assert mean.loss == pytest.approx(loss, abs=100 * step)


@pytest.mark.parametrize(
    ("weighting", "weight"),
    [
        ("examples", 20 * 6 / TOTAL_EXAMPLES),
        ("root-examples", 256 * 120**0.5 / 6000),
        ("uniform", 1 / 3),
    ],
)
def test_a_silo_weighs_its_share_of_examples_or_as_much_as_any_other(
    north, weighting, weight
):
    optimizer = CONFIG.server_optimizer.model_copy(update={"weighting": weighting})
    config = CONFIG.model_copy(update={"server_optimizer": optimizer})
    total = 6000 if weighting == "root-examples" else TOTAL_EXAMPLES
    job = RoundJob.of(config, 1, 0, SILOS, total, vocabulary=VOCABULARY)
    train_round(north, START, job)
    assert shelved(north, job).weight == pytest.approx(
        weight, abs=1e-4 if weighting == "root-examples" else 1e-7
    )


def test_a_job_leaves_room_for_all_silos_and_knows_the_cuts():
    assert JOB.encoding.num_silos == 3
    once = RoundJob.of(CONFIG, 2, 1, SILOS, TOTAL_EXAMPLES, vocabulary=VOCABULARY)
    never = RoundJob.of(CONFIG, 2, 0, SILOS, TOTAL_EXAMPLES, vocabulary=VOCABULARY)
    cut = CONFIG.schedule.learning_rate_cut
    assert once.learning_rate == pytest.approx(cut * never.learning_rate)


def test_a_receipt_tells_nothing_of_the_data(north):
    receipt = train_round(north, START, JOB)
    assert {field.name for field in fields(TrainingReceipt)} == {
        "update_commitment", "train_seconds", "code_hash"
    }  # fmt: skip
    assert receipt.train_seconds > 0


def test_coordinates_beyond_the_bound_are_counted(north):
    train_round(north, START, JOB)
    assert shelved(north, JOB).clipped == 0
    tight = replace(JOB.encoding, blocks=(Block(len(START), 1e-6),))
    job = replace(JOB, encoding=tight)
    train_round(north, START, job)
    assert len(START) // 2 < shelved(north, job).clipped <= len(START)


def test_an_update_that_is_too_long_is_shortened_and_keeps_its_direction(north):
    train_round(north, START, JOB)
    free = shelved(north, JOB)
    bounds = {share: share * free.norm for share in (0.5, 2.0)}
    for share, bound in bounds.items():
        training = JOB.training.model_copy(update={"max_update_norm": bound})
        train_round(north, START, replace(JOB, training=training))
        bounded = shelved(north, JOB)
        assert bounded.update == pytest.approx(min(share, 1.0) * free.update, abs=1e-6)
        assert (bounded.weight, bounded.loss) == (free.weight, free.loss)


def test_a_warm_module_forgets_the_last_round_and_another_architecture(north):
    first = train_round(north, START, JOB), north.take(Contribution).words
    train_round(north, 2 * START, JOB)
    again = train_round(north, START, JOB), north.take(Contribution).words
    assert np.array_equal(first[1], again[1])
    wide = TINY_MODEL.model_copy(update={"dim": 32})
    config = CONFIG.model_copy(update={"model": wide})
    job = RoundJob.of(config, 1, 0, SILOS, TOTAL_EXAMPLES, vocabulary=VOCABULARY)
    train_round(north, initial_vector(wide, ITEMS), job)
    assert len(north.get(Contribution).words) > len(first[1])


def test_an_update_that_is_not_finite_is_never_shelved(north):
    with pytest.raises(NotFiniteError):
        train_round(north, np.full_like(START, np.nan), JOB)
    assert not north.has(Contribution)
    assert not (north.folder / "commitments.jsonl").exists()


def test_a_commitment_can_be_opened_by_the_silo_alone(north):
    receipt = train_round(north, START, JOB)
    file = north.folder / "commitments.jsonl"
    told = json.loads(file.read_text())
    words = north.get(Contribution).words
    opened = hashlib.sha256(
        b"silorec/update-commitment/1" + bytes.fromhex(told["salt"]) + words.tobytes()
    ).hexdigest()
    assert opened == told["commitment"] == receipt.update_commitment
    assert told["round"] == "run-1/1"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert hashlib.sha256(words.tobytes()).hexdigest() != receipt.update_commitment


def test_the_same_update_is_hidden_by_another_salt_each_time(tmp_path):
    words = np.arange(4, dtype=np.uint32)
    commitments = {commit_to(words, tmp_path, "run/1") for _ in range(3)}
    salts = {
        json.loads(line)["salt"]
        for line in (tmp_path / "commitments.jsonl").read_text().splitlines()
    }
    assert len(commitments) == len(salts) == 3
    assert {len(bytes.fromhex(salt)) for salt in salts} == {32}


def test_a_round_without_a_quorum_says_why_each_silo_is_missing(cohort):
    cohort.sabotage["north", "train_round"] = NotFiniteError("the loss was no number")
    cohort.sabotage["south", "train_round"] = ValueError("row 7 of user 12")
    with pytest.raises(QuorumLostError) as info:
        train_on_silos.fn(cohort.only(SILOS), START, JOB, CohortConfig())
    assert info.value.message == (
        "only 1 silos trained in round 1 and cohort.min_silos is 3 "
        "(north: update was not finite, the loss was no number; "
        "south: step crashed, train_round failed: ValueError)"
    )


def test_a_model_trained_alone_is_the_best_by_validation_and_stays_in_the_silo(north):
    assert train_alone(north, START, AloneJob.of(CONFIG)) is None
    assert not np.array_equal(north.get(AloneModel).vector, START)
    with pytest.raises(SiloError, match="silo north does not hand out a model"):
        hand_over_pooled_model(north)


def test_training_alone_keeps_the_best_round_and_stops_when_patience_ends(
    north, monkeypatch
):
    """Scripted validation: the second of the four rounds that are played is best."""
    script, scores = iter([0.1, 0.4, 0.2, 0.3]), []

    def scripted(score, data, window, stocked, k):
        assert window is Window.VALIDATION
        scores.append(score(HISTORIES))
        sums = MetricSums(users=1, gains=next(script))
        return Ranking(sums, np.ones(ITEMS, dtype=bool))

    monkeypatch.setattr("tasks.local_training.silo_side.rank_held_out", scripted)
    schedule = CONFIG.schedule.model_copy(update={"rounds": 9, "patience": 2})
    job = replace(AloneJob.of(CONFIG), schedule=schedule)
    train_alone(north, START, job)
    assert len(scores) == 4
    module = build_recommender(TINY_MODEL, ITEMS)
    write_vector(module, north.get(AloneModel).vector)
    kept = history_scorer(module, TINY_MODEL.context)(HISTORIES)
    assert np.array_equal(kept, scores[1])


def test_only_the_pretended_pooled_silo_hands_over_its_model(cohort):
    job = AloneJob.of(CONFIG)
    pooled = train_for_comparison.fn(cohort, SILOS, START, job)
    own = cohort.workspaces[POOLED_SILO_NAME].get(AloneModel).vector
    assert np.array_equal(pooled, own)
    assert all(cohort.workspaces[silo].has(AloneModel) for silo in SILOS)
    assert train_for_comparison.fn(cohort.only(SILOS), SILOS, START, job) is None
