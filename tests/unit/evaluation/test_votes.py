"""A silo's vote: its own two figures, compared inside, and one bit that leaves."""

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.settings.evaluation import EvaluationConfig
from data_contracts.votes import VoteCount
from data_contracts.workspace import Contribution
from models.parameters import vector_hash
from models.ranking_metrics import MetricSums
from models.recommenders.building import initial_vector
from models.sequences import Window
from models.vocabulary import StockedItems, Vocabulary
from tasks.evaluation import silo_side
from tasks.evaluation.own_scores import known, remember
from tasks.evaluation.silo_side import Question, evaluate_model, vote
from tasks.evaluation.task import vote_on_silos
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.open_sum import sum_in_the_open
from tests.simulators.sequence_samples import TINY_MODEL, cycling_users

ITEMS = 20
SILOS = ("north", "south", "west")
OLD, NEW = (initial_vector(TINY_MODEL, ITEMS) + shift for shift in (0, 0.5))
SHOWN = Question(
    window=Window.VALIDATION,
    model=TINY_MODEL,
    evaluation=EvaluationConfig(k=5),
    num_silos=len(SILOS),
)
HIDDEN = replace(SHOWN, evaluation=EvaluationConfig(k=5, per_silo_metrics=False))


@pytest.fixture
def cohort(tmp_path):
    cohort = InProcessCohort(SILOS, tmp_path)
    for number, workspace in enumerate(cohort.workspaces.values()):
        workspace.put(cycling_users(10, ITEMS, length=8, seed=number))
        workspace.put(Vocabulary(f"i{item:02}" for item in range(ITEMS)))
        workspace.put(StockedItems(np.ones(ITEMS, dtype=bool)))
    return cohort


def pretend(workspace, old, new, users=10.0):
    """Let the silo remember these NDCGs of the two models."""
    for model, ndcg in ((OLD, old), (NEW, new)):
        sums = MetricSums(users=users, gains=ndcg * users)
        remember(workspace, vector_hash(model), sums)


@pytest.mark.parametrize(
    ("old", "new", "against"),
    [
        (0.50, 0.60, 0),
        (0.50, 0.50, 0),
        (0.50, 0.4501, 0),
        (0.50, 0.4499, 1),
        (0.0, 0.0, 0),
        (0.50, np.nan, 1),
    ],
)
def test_a_silo_votes_against_what_costs_it_more_than_it_puts_up_with(
    cohort, old, new, against
):
    north = cohort.workspaces["north"]
    pretend(north, old, new)
    assert vote(north, OLD, NEW, SHOWN, 0.1) == VoteCount(against, 1)
    assert north.take(Contribution).words.tolist() == [against, 1]


def test_a_silo_that_hides_its_metrics_hides_its_vote(cohort):
    north = cohort.workspaces["north"]
    pretend(north, 0.5, 0.1)
    assert vote(north, OLD, NEW, HIDDEN, 0.1) is None
    assert north.take(Contribution).words.tolist() == [1, 1]


def test_a_silo_without_held_out_users_abstains(cohort):
    north = cohort.workspaces["north"]
    pretend(north, 0.5, 0.1, users=0.0)
    assert vote(north, OLD, NEW, SHOWN, 0.1) == VoteCount(0, 0)


@pytest.mark.parametrize("question", [SHOWN, HIDDEN], ids=["shown", "hidden"])
def test_votes_are_counted(cohort, question):
    for silo, new in zip(SILOS, (0.1, 0.2, 0.6), strict=True):
        pretend(cohort.workspaces[silo], 0.5, new)
    votes = vote_on_silos.fn(cohort, sum_in_the_open, OLD, NEW, question, 0.1, 1)
    assert votes == VoteCount(2, 3)


def test_the_candidate_that_was_just_evaluated_is_not_ranked_again(cohort, monkeypatch):
    north, ranked = cohort.workspaces["north"], []
    rank = silo_side.rank_held_out
    monkeypatch.setattr(
        silo_side, "rank_held_out", lambda *a: ranked.append(1) or rank(*a)
    )
    evaluate_model(north, NEW, SHOWN)
    vote(north, OLD, NEW, SHOWN, 0.1)
    assert len(ranked) == 2  # the candidate and, the first time, the model before
    vote(north, NEW, OLD, SHOWN, 0.1)
    assert len(ranked) == 2


def test_figures_of_the_test_window_are_no_basis_for_a_vote(cohort):
    north = cohort.workspaces["north"]
    evaluate_model(north, NEW, replace(SHOWN, window=Window.TEST))
    assert known(north).sums == {}


def test_a_silo_forgets_the_models_seen_longest_ago(cohort):
    north = cohort.workspaces["north"]
    for number in range(20):
        remember(north, str(number), MetricSums())
    assert list(known(north).sums) == [str(number) for number in range(12, 20)]


@pytest.mark.parametrize(
    ("count", "silos", "possible"),
    [
        ((0, 3), 3, True),
        ((3, 3), 3, True),
        ((4, 3), 4, False),
        ((-1, 3), 3, False),
        ((1, 4), 3, False),
    ],
)
def test_a_count_is_possible_only_within_the_votes_there_are(count, silos, possible):
    assert VoteCount(*count).possible(silos) is possible
