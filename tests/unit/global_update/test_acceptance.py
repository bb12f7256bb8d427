"""Accept, reject, cut, stop: what a validation metric leads to."""

import numpy as np
import pytest

from data_contracts.records import Verdict
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.training import ScheduleConfig, ServerOptimizerConfig
from data_contracts.standing import Standing
from data_contracts.votes import VoteCount
from models.fixed_point import signed
from models.global_model import fresh_model
from models.weighted_mean import Block, UpdateEncoding
from tasks.global_update.acceptance import rule_on
from tasks.global_update.task import update_global_model

SCHEDULE = ScheduleConfig(
    rounds=10, max_regression=0.1, learning_rate_cut=0.5, patience=3
)


def played(*metrics: float, schedule: ScheduleConfig = SCHEDULE):
    """The rulings on these metrics, one round after the other."""
    standing, rulings = Standing(), []
    for number, metric in enumerate(metrics, start=1):
        ruling = rule_on(metric, standing, schedule, run_id="run", round_number=number)
        standing = ruling.standing
        rulings.append(ruling)
    return rulings


def verdicts(ruling):
    return [decision.verdict for decision in ruling.decisions]


@pytest.mark.parametrize(
    ("metric", "accepted"),
    [
        (0.5, True),
        (0.2, True),
        (0.1801, True),
        (0.1799, False),
        (0.0, False),
        (np.nan, False),
    ],
)
def test_a_fall_of_more_than_a_tenth_of_the_best_is_rejected(metric, accepted):
    first, second = played(0.2, metric)
    assert first.accepted
    assert second.accepted is accepted
    expected = [Verdict.ACCEPTED] if accepted else [
        Verdict.REJECTED, Verdict.LEARNING_RATE_CUT
    ]  # fmt: skip
    assert verdicts(second) == expected


def test_the_first_model_is_accepted_whatever_it_is_worth_unless_it_is_no_number():
    assert played(0.0)[0].accepted
    (ruling,) = played(np.nan)
    assert not ruling.accepted
    assert ruling.standing.best_round == 0


def test_the_best_is_kept_with_its_round_and_a_tie_does_not_take_its_place():
    *_, last = played(0.1, 0.3, 0.3, 0.28)
    assert (last.standing.best, last.standing.best_round) == (0.3, 2)


def test_slow_decline_is_measured_against_the_best_and_not_against_the_last():
    assert [ruling.accepted for ruling in played(1.0, 0.95, 0.905, 0.89)] == [
        True, True, True, False
    ]  # fmt: skip


def test_every_rejection_cuts_the_rate_again_and_says_to_what():
    *_, last = played(1.0, 0.1, 0.2)
    assert last.standing.cuts == 2
    assert "0.25 of the scheduled rate" in last.decisions[1].sentence


def test_the_run_stops_after_patience_rounds_without_a_better_model():
    rulings = played(0.3, 0.29, 0.3, 0.28)
    assert [ruling.standing.stopped for ruling in rulings] == [
        False, False, False, True
    ]  # fmt: skip
    assert verdicts(rulings[-1]) == [Verdict.ACCEPTED, Verdict.STOPPED_EARLY]
    assert "3 rounds without a better NDCG than 0.3000" in (
        rulings[-1].decisions[-1].sentence
    )


def test_a_better_model_resets_the_patience():
    assert not played(0.3, 0.2, 0.2, 0.31, 0.3, 0.3)[-1].standing.stopped


def test_the_last_round_is_no_early_stop():
    short = SCHEDULE.model_copy(update={"rounds": 4})
    assert not played(0.3, 0.29, 0.29, 0.29, schedule=short)[-1].standing.stopped


def test_decisions_belong_to_the_run_and_the_round():
    (decision,) = played(0.25)[0].decisions
    assert (decision.run_id, decision.round_number, decision.silo) == ("run", 1, "")
    assert decision.sentence == (
        "NDCG 0.2500 on validation; best so far 0.2500 in round 1"
    )


def test_votes_decide_whatever_the_metric_says():
    def by_votes(metric, *count):
        return rule_on(
            metric, Standing(best=0.5, best_round=1), SCHEDULE,
            run_id="run", round_number=2, votes=VoteCount(*count),
        )  # fmt: skip

    for metric in (0.0, 0.9, np.nan):
        kept = by_votes(metric, 2, 3)
        assert not kept.accepted
        assert verdicts(kept) == [Verdict.REJECTED, Verdict.LEARNING_RATE_CUT]
        taken = by_votes(metric, 2, 4)
        assert taken.accepted
        assert taken.standing.best_round == 2
    assert kept.decisions[0].sentence == (
        "2 of 3 silos voted against it, for whom it is worse than the last accepted "
        "model"
    )
    none = by_votes(0.9, 0, 0)
    assert not none.accepted
    assert none.decisions[0].sentence == "no silo cast a valid vote on it"


def test_a_run_that_is_voted_down_for_patience_rounds_stops():
    standing = Standing(best=0.5, best_round=1)
    for number in (2, 3, 4):
        ruling = rule_on(
            0.9, standing, SCHEDULE,
            run_id="run", round_number=number, votes=VoteCount(3, 4),
        )  # fmt: skip
        standing = ruling.standing
    assert standing.stopped
    assert ruling.decisions[-1].sentence == (
        "3 rounds without a model that a majority accepts"
    )


def test_a_server_step_moves_the_model_by_the_decoded_mean_and_keeps_the_old_one():
    config = ServerOptimizerConfig(name="momentum")
    encoding = UpdateEncoding(32, 4, (Block(3, 4.0),))
    model = fresh_model(np.zeros(3, np.float32), config)
    delta = np.array([1.0, -2.0, 0.5], np.float32)
    words = encoding.encode(delta, 0.5, 6.4, dither=np.zeros).words
    summed = SecureSum(
        total=signed(words), contributors=("north",),
        dropped={}, faults={}, mode="masked", bytes_up={}, bytes_down=0,
        commitments={}, phases=(),
    )  # fmt: skip
    one, mean = update_global_model.fn(model, summed, encoding, config, 1)
    two, _ = update_global_model.fn(one, summed, encoding, config, 2)
    assert one.vector == pytest.approx([1.0, -2.0, 0.5], abs=1e-6)
    assert two.vector == pytest.approx(2.9 * one.vector, abs=1e-6)
    assert mean.loss == pytest.approx(6.4, abs=1e-5)
    assert model.vector.tolist() == [0, 0, 0]
    assert len({model.vector_hash, one.vector_hash, two.vector_hash}) == 3
