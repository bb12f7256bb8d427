"""The noisy popularity that the scores of a private model start from."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from data_contracts.errors import PrivacyBudgetError
from data_contracts.privacy_events import GaussianEvent
from data_contracts.privacy_plan import ChargedPlan, PrivacyPlan
from models.vocabulary import Vocabulary
from tasks.privacy_budget.releases import release_popularity, spread_counts
from tasks.privacy_budget.task import ChargedBudget, start_from_popularity
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.sequence_samples import cycling_users

ITEMS = 3000
VOCABULARY = Vocabulary(f"i{item:04}" for item in range(ITEMS))
PLAN = PrivacyPlan(GaussianEvent(1.0, 0.5, 1), popularity=4.0)


@pytest.fixture
def cohort(tmp_path):
    silos = InProcessCohort(["north", "south"], tmp_path)
    for seed, workspace in enumerate(silos.workspaces.values()):
        workspace.put(cycling_users(50, ITEMS, length=9, seed=seed))
        workspace.put(VOCABULARY)
        workspace.put(ChargedPlan(PLAN))
    return silos


def test_one_person_moves_the_counts_by_one():
    data = cycling_users(20, ITEMS, length=9)
    last = data.num_users - 1
    rest = replace(data, train_end=np.where(np.arange(20) == last, 0, data.train_end))
    change = spread_counts(data, ITEMS) - spread_counts(rest, ITEMS)
    assert np.linalg.norm(change) == pytest.approx(1.0)


def test_the_noise_is_what_was_charged_and_the_release_is_repeated(cohort):
    workspace = cohort.workspaces["north"]
    told = release_popularity(workspace)
    noise = told - spread_counts(cycling_users(50, ITEMS, length=9, seed=0), ITEMS)
    assert stats.kstest(noise, "norm", args=(0, PLAN.popularity)).pvalue > 1e-4
    assert stats.kstest(noise, "norm", args=(0, 1.1 * PLAN.popularity)).pvalue < 0.05
    assert np.array_equal(release_popularity(workspace), told)


def test_every_silo_scores_from_the_same_popularity(cohort):
    vocabulary = start_from_popularity.fn(
        cohort, VOCABULARY, ChargedBudget(PLAN, {}, {})
    )
    assert np.exp(vocabulary.bias).sum() == pytest.approx(1.0, abs=1e-4)
    for workspace in cohort.workspaces.values():
        assert workspace.get(Vocabulary) == vocabulary
        assert workspace.get(Vocabulary).bias is not None


def test_nothing_is_counted_that_was_not_charged(cohort):
    workspace = cohort.workspaces["north"]
    workspace.put(ChargedPlan(replace(PLAN, popularity=None)))
    assert release_popularity(workspace) is None
    workspace.take(ChargedPlan)
    with pytest.raises(PrivacyBudgetError, match="has charged nothing"):
        release_popularity(workspace)
