"""The noisy popularity that the scores of a private model start from."""

import math
from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import PrivacyBudgetError, QuorumLostError
from data_contracts.privacy_events import GaussianEvent
from data_contracts.privacy_plan import ChargedPlan, PrivacyPlan
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import COUNTS, Contribution
from models.privacy.joint_noise import JointNoise
from models.sequences import SequenceData
from models.vocabulary import Vocabulary
from tasks.privacy_budget.releases import (
    release_popularity,
    share_popularity,
    spread_counts,
)
from tasks.privacy_budget.task import ChargedBudget, start_from_popularity
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.noise_checks import is_noise_of, variance_fits
from tests.simulators.sequence_samples import cycling_users

ITEMS = 3000
VOCABULARY = Vocabulary(f"i{item:04}" for item in range(ITEMS))
PLAN = PrivacyPlan(GaussianEvent(1.0, 0.5, 1), popularity=4.0)


SILOS = ("north", "south", "west", "east")
BUDGET = ChargedBudget(PLAN, {}, {})


def config_in(mode):
    return FederatedTrainingConfig.model_validate(
        {
            "data": {"dataset": "ml-100k"},
            "cohort": {"min_silos": 3},
            "privacy": {"mode": mode, "declared_users": 100},
        }
    )


def plan_for(silos=4, noise_multiplier=4.0, **changes):
    return JointNoise.agreed(
        config_in("joint"),
        **{
            "noise_multiplier": noise_multiplier,
            "clip_norm": 1.0,
            "expected_users": 100,
            "silos": silos,
            "size": ITEMS,
        }
        | changes,
    )


def sums(cohort, purpose, *, round_number=0, kind=COUNTS):
    return aggregate_securely.fn(
        cohort,
        purpose,
        round_number,
        SecureAggregationConfig(),
        min_silos=3,
        kind=kind,
    )


@pytest.fixture
def cohort(tmp_path):
    silos = InProcessCohort(SILOS, tmp_path)
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
    assert is_noise_of(noise, PLAN.popularity)
    assert not variance_fits(noise, 1.2 * PLAN.popularity)
    assert np.array_equal(release_popularity(workspace), told)


@pytest.mark.parametrize("mode", ["local", "joint"])
def test_every_silo_scores_from_the_same_popularity(cohort, mode):
    vocabulary = start_from_popularity.fn(
        cohort, VOCABULARY, BUDGET, config_in(mode), sums
    )
    assert np.exp(vocabulary.bias).sum() == pytest.approx(1.0, abs=1e-4)
    for workspace in cohort.workspaces.values():
        assert workspace.get(Vocabulary) == vocabulary
        assert workspace.get(Vocabulary).bias is not None


@pytest.mark.parametrize("step", ["release_popularity", "start_from"])
def test_no_silo_starts_from_other_scores_than_the_others(cohort, step):
    cohort.sabotage["south", step] = RuntimeError()
    with pytest.raises(QuorumLostError, match=r"silo south failed .* resume the run"):
        start_from_popularity.fn(cohort, VOCABULARY, BUDGET, config_in("local"), sums)


def test_nothing_is_counted_that_was_not_charged(cohort):
    workspace = cohort.workspaces["north"]
    workspace.put(ChargedPlan(replace(PLAN, popularity=None)))
    assert release_popularity(workspace) is None
    workspace.take(ChargedPlan)
    with pytest.raises(PrivacyBudgetError, match="has charged nothing"):
        release_popularity(workspace)


def test_joint_counts_hold_the_noise_of_all_shares_and_no_more(cohort):
    noise = plan_for()
    cohort.call(share_popularity, noise)
    kind = noise.kind(VOCABULARY.sha256)
    counts = noise.decode(sums(cohort, "popularity", round_number=1, kind=kind).total)
    exact = sum(
        spread_counts(workspace.get(SequenceData), ITEMS)
        for workspace in cohort.workspaces.values()
    )
    deviation = noise.noise_on_sum(4)
    assert deviation == pytest.approx(4.0 * math.sqrt(4 / 2), rel=1e-3)
    assert is_noise_of(counts - exact, deviation)
    assert not variance_fits(counts - exact, 1.2 * deviation)


def test_a_share_is_drawn_once_in_a_run(cohort):
    workspace = cohort.workspaces["north"]
    share_popularity(workspace, plan_for())
    first = workspace.take(Contribution)
    share_popularity(workspace, plan_for())
    assert np.array_equal(workspace.get(Contribution).words, first.words)
    with pytest.raises(PrivacyBudgetError, match="releases it once only"):
        share_popularity(workspace, plan_for(silos=3))


@pytest.mark.parametrize("less", [{"noise_multiplier": 3.9}, {"clip_norm": 0.9}])
def test_no_share_is_smaller_than_what_was_charged(cohort, less):
    workspace = cohort.workspaces["north"]
    with pytest.raises(PrivacyBudgetError, match="less noise than its ledger charged"):
        share_popularity(workspace, plan_for(**less))
    assert not workspace.has(Contribution)
