"""Nine silos, one of them an attacker: what an attack does, and what is left of it.

Every defence is held against the same run without it. Figures are the validation NDCG
of the last model on all silos' honest data; a run of three rounds takes half a second.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest

from data_contracts.errors import FailureReason
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.standing import Standing
from models.sequences import Window
from tasks.evaluation.silo_side import Question
from tasks.evaluation.task import evaluate_on_silos, vote_on_silos
from tasks.global_update.acceptance import rule_on
from tasks.global_update.task import initialise_global_model, update_global_model
from tasks.local_training.silo_side import RoundJob
from tasks.local_training.task import train_on_silos
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.attacks import (
    BadTraining,
    FromRound,
    Infiltrated,
    LyingCode,
    StuffedBallot,
    flip_labels,
)
from tests.simulators.in_process_cohort import honestly
from tests.simulators.prepared_federation import PreparedFederation

NAMES = tuple(f"silo-{i}" for i in range(9))
ATTACKER = "silo-4"
ATTACKS = {
    "sign flip": LyingCode(-8),
    "scaling": LyingCode(1000),
    "bad training": BadTraining(1000),
    "label flip": flip_labels,
    "late scaling": FromRound(2, LyingCode(1000)),
    "not a number": BadTraining(np.nan),
}
GROSS = ("sign flip", "scaling", "bad training")
GROUPS = {"groups": 3}
PLAIN = {"mode": "plain"}
DEFENCES = {
    "group median": GROUPS | {"combine": "median"},
    "group trimmed mean": GROUPS | {"combine": "trimmed-mean"},
    "median": PLAIN | {"combine": "median"},
    "trimmed mean": PLAIN | {"combine": "trimmed-mean"},
    "krum": PLAIN | {"combine": "krum"},
    "norm bound": PLAIN | {"norm_bound": 2.0},
    "leaving out": PLAIN | {"norm_bound": 2.0, "beyond_norm_bound": "leave-out"},
    "group norm bound": GROUPS | {"norm_bound": 1.5},
    "groups alone": GROUPS,
}
RULES = ("group median", "group trimmed mean", "median", "trimmed mean", "krum")
# A bound on norms sees no direction: labels turned round have an ordinary norm.
BOUNDS = ("norm bound", "leaving out", "group norm bound")


@dataclass(frozen=True)
class Outcome:
    """The end of a run."""

    ndcg: float
    vector: np.ndarray
    remarks: dict[str, str]
    left_out: dict[str, FailureReason]
    accepted: tuple[bool, ...]


class TestFederation:
    """Runs of the same nine silos, each named by what is special about it."""

    __test__ = False

    def __init__(self, folder, **settings):
        self.prepared = PreparedFederation(folder, names=NAMES, **settings)
        self.cohort = self.prepared.cohort
        self.run = cache(self._run)

    def _run(self, attack="", defence="", acceptance="", max_norm=None):
        """Three rounds under an attack and a defence, both by name."""
        self._begin(f"{attack}/{defence}/{acceptance}/{max_norm}")
        self.cohort.meddler = (
            Infiltrated(ATTACKER, "train_round", ATTACKS[attack])
            if attack
            else honestly
        )
        try:
            return self._play(defence, acceptance, max_norm)
        finally:
            self.cohort.meddler = honestly

    def _begin(self, name):
        self.cohort.run_id = name
        for workspace in self.cohort.workspaces.values():
            workspace.run_id = name

    def _play(self, defence, acceptance, max_norm):
        config = self._config(defence, max_norm)
        model = initialise_global_model.fn(
            config.model, self.prepared.vocabulary, config.server_optimizer, None
        )
        standing, accepted, remarks, left_out = Standing(), [], {}, {}
        for number in (1, 2, 3):
            trained, candidate, mean = self._candidate(config, model, number)
            remarks |= mean.remarks
            left_out |= {s: f.reason for s, f in trained.failures.items()}
            ruling = self._ruling(acceptance, model, candidate, standing, number)
            standing = ruling.standing
            accepted.append(ruling.accepted)
            model = candidate if ruling.accepted else model
        ndcg = self.evaluated(model.vector).ndcg
        return Outcome(ndcg, model.vector, remarks, left_out, tuple(accepted))

    def _config(self, defence, max_norm):
        config = self.prepared.config
        sums = SecureAggregationConfig(**DEFENCES.get(defence, {}))
        local = {"max_update_norm": max_norm, "learning_rate": 2e-2}
        return config.model_copy(
            update={
                "secure_aggregation": sums,
                "local_training": config.local_training.model_copy(update=local),
            }
        )

    def _candidate(self, config, model, number):
        cohort, examples = self.cohort, self.prepared.prepared.total_examples
        job = RoundJob.of(
            config, number, 0, cohort.silos, examples,
            vocabulary=self.prepared.vocabulary,
        )  # fmt: skip
        trained = train_on_silos.fn(cohort, model.vector, job, config.cohort)
        summed = aggregate_securely.fn(
            cohort.only(trained.values),
            "model update",
            number,
            config.secure_aggregation,
            min_silos=2,
            kind=job.input_kind(model.vector_hash),
            apart=True,
        )
        candidate, mean = update_global_model.fn(
            model, summed, job.encoding, config.server_optimizer, number,
            config.secure_aggregation,
        )  # fmt: skip
        return trained, candidate, mean

    def _ruling(self, acceptance, model, candidate, standing, number):
        """As the flow does it; without a rule every candidate is taken."""
        schedule = self.prepared.config.schedule
        judge = partial(rule_on, run_id=self.cohort.run_id, round_number=number)
        if not acceptance:
            return judge(1.0, standing, schedule)
        ndcg = self.evaluated(candidate.vector).ndcg
        votes = (
            self.votes(model.vector, candidate.vector, number)
            if acceptance == "vote"
            else None
        )
        return judge(ndcg, standing, schedule, votes=votes)

    def _question(self):
        return Question.of(self.prepared.config, Window.VALIDATION, NAMES)

    def evaluated(self, vector):
        return evaluate_on_silos.fn(
            self.cohort, self.prepared.sum_securely, vector, self._question()
        )

    def votes(self, accepted, candidate, number):
        sum_once = partial(self.prepared.sum_securely, round_number=number)
        return vote_on_silos.fn(
            self.cohort, sum_once, accepted, candidate, self._question(), 0.1, number
        )

    def ballot(self, accepted, candidate, stuffed, name):
        """Votes when the attacker puts so many against the candidate."""
        self._begin(name)
        self.cohort.meddler = Infiltrated(ATTACKER, "vote", StuffedBallot(stuffed))
        try:
            return self.votes(accepted, candidate, 1)
        finally:
            self.cohort.meddler = honestly


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    return TestFederation(tmp_path_factory.mktemp("nine"))


@pytest.fixture(scope="module")
def discreet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discreet")
    return TestFederation(folder, evaluation={"per_silo_metrics": False})


def damage(federation, **run):
    """What is lost of the honest run's gain over the model at the start, as a share."""
    honest = federation.run().ndcg
    start = federation.evaluated(np.zeros_like(federation.run().vector)).ndcg
    return (honest - federation.run(**run).ndcg) / (honest - start)


@pytest.mark.parametrize("attack", [*GROSS, "late scaling"])
def test_undefended_a_gross_attack_takes_nearly_everything(federation, attack):
    assert damage(federation, attack=attack) > 0.8


def test_undefended_turned_labels_hurt(federation):
    assert damage(federation, attack="label flip") > 0.05


@pytest.mark.parametrize("defence", DEFENCES)
def test_without_an_attack_a_defence_costs_little(federation, defence):
    assert damage(federation, defence=defence) < 0.06


@pytest.mark.parametrize("attack", GROSS)
@pytest.mark.parametrize("defence", [*RULES, "norm bound", "leaving out"])
def test_defended_a_gross_attack_does_little(federation, defence, attack):
    undefended = damage(federation, attack=attack)
    assert damage(federation, attack=attack, defence=defence) < 0.3 * undefended
    honest, with_it, without = (
        federation.run(**run).vector
        for run in ({}, {"attack": attack, "defence": defence}, {"attack": attack})
    )
    assert np.linalg.norm(with_it - honest) < np.linalg.norm(without - honest)


@pytest.mark.parametrize("defence", RULES)
def test_a_robust_rule_takes_the_edge_off_turned_labels(federation, defence):
    undefended = damage(federation, attack="label flip")
    assert damage(federation, attack="label flip", defence=defence) < 0.8 * undefended


@pytest.mark.parametrize("defence", BOUNDS)
def test_a_norm_bound_does_not_see_turned_labels(federation, defence):
    with_it = federation.run(attack="label flip", defence=defence)
    assert with_it.remarks == {}
    assert with_it.ndcg == pytest.approx(federation.run(attack="label flip").ndcg)


def test_a_norm_bound_on_three_group_means_stops_excess_and_little_else(federation):
    by = {a: damage(federation, attack=a, defence="group norm bound") for a in GROSS}
    assert by["scaling"] < 0.3 > by["bad training"]
    assert 0.3 < by["sign flip"] < damage(federation, attack="sign flip")


@pytest.mark.parametrize("attack", GROSS)
def test_what_the_norm_bound_leaves_out_is_the_attacker_by_name(federation, attack):
    outcome = federation.run(attack=attack, defence="leaving out")
    assert list(outcome.remarks) == [ATTACKER]
    assert "was left out: its norm" in outcome.remarks[ATTACKER]


def test_krum_never_chooses_a_gross_lie(federation):
    outcome = federation.run(attack="sign flip", defence="krum")
    assert outcome.remarks
    assert ATTACKER not in outcome.remarks


def test_groups_alone_change_nothing(federation):
    alone = federation.run(attack="sign flip", defence="groups alone")
    assert np.array_equal(alone.vector, federation.run(attack="sign flip").vector)


def test_a_bound_inside_the_silo_stops_bad_training(federation):
    assert damage(federation, max_norm=3.0) < 0.06
    assert damage(federation, attack="bad training", max_norm=3.0) < 0.06


def test_a_bound_inside_the_silo_does_not_stop_a_silo_that_runs_other_code(federation):
    assert damage(federation, attack="scaling", max_norm=3.0) > 0.8


def test_an_update_that_is_not_a_number_is_left_out_by_name(federation):
    for max_norm in (None, 3.0):
        outcome = federation.run(attack="not a number", max_norm=max_norm)
        assert outcome.left_out == {ATTACKER: FailureReason.NOT_FINITE}
        assert damage(federation, attack="not a number", max_norm=max_norm) < 0.06


@pytest.mark.parametrize("acceptance", ["metric", "vote"])
def test_honest_rounds_are_accepted_and_change_nothing(federation, acceptance):
    outcome = federation.run(acceptance=acceptance)
    assert outcome.accepted == (True, True, True)
    assert np.array_equal(outcome.vector, federation.run().vector)


@pytest.mark.parametrize("acceptance", ["metric", "vote"])
def test_spoilt_rounds_are_rejected_and_the_old_model_kept(federation, acceptance):
    outcome = federation.run(attack="late scaling", acceptance=acceptance)
    assert outcome.accepted == (True, False, False)
    assert outcome.ndcg > federation.run(attack="late scaling").ndcg + 0.1


def test_only_a_vote_has_something_to_hold_the_first_candidate_against(federation):
    by_metric = federation.run(attack="bad training", acceptance="metric")
    by_vote = federation.run(attack="bad training", acceptance="vote")
    assert by_metric.accepted[0]
    assert not by_vote.accepted[0]


def good_and_bad(federation):
    return federation.run().vector, federation.run(attack="sign flip").vector


def test_silos_vote_alike_whether_votes_are_shown_or_summed(federation, discreet):
    good, bad = good_and_bad(federation)
    for one in (federation, discreet):
        assert one.ballot(good, good, 0, "same").against == 0
        votes = one.ballot(good, bad, 0, "worse")
        assert (votes.against, votes.cast, votes.rejects) == (8, 9, True)
        assert one.ballot(bad, good, 0, "better").against == 0


def test_a_vote_that_is_shown_counts_once(federation):
    good, _ = good_and_bad(federation)
    votes = federation.ballot(good, good, 1, "one vote")
    assert (votes.against, votes.cast) == (1, 9)
    stuffed = federation.ballot(good, good, 9, "nine votes")
    assert (stuffed.against, stuffed.cast, stuffed.rejects) == (0, 8, False)


def test_a_hidden_vote_can_be_stuffed_as_far_as_the_sum_stays_possible(
    federation, discreet
):
    good, bad = good_and_bad(federation)
    assert discreet.ballot(good, good, 5, "stuffed").rejects
    assert not discreet.ballot(good, bad, -5, "bought").rejects
    for impossible in (10, -1):
        votes = discreet.ballot(good, good, impossible, f"impossible {impossible}")
        assert (votes.cast, votes.rejects) == (0, True)


def test_only_the_sum_of_hidden_votes_leaves_the_silos(discreet):
    good = discreet.run().vector
    discreet._begin("watched")
    discreet.cohort.steps.clear()
    discreet.votes(good, good, 1)
    assert discreet.cohort.steps[:2] == ["vote", "advertise_keys"]
    assert "upload_in_the_clear" not in discreet.cohort.steps
