"""A silo trains privately only what it charged, each round once, and tells nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import ConfigError, PrivacyBudgetError
from data_contracts.privacy_events import GaussianEvent
from data_contracts.privacy_plan import ChargedPlan, PrivacyPlan
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.workspace import Contribution, SiloWorkspace
from models.parameters import vector_hash
from models.recommenders.building import initial_vector
from models.vocabulary import Vocabulary
from tasks.local_training.private_jobs import JointEncoding, PrivateJob, private_job
from tasks.local_training.private_side import train_round_privately
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.sequence_samples import TINY_MODEL, cycling_users

ITEMS = 20
VOCABULARY = Vocabulary(f"i{item:02}" for item in range(ITEMS))
SILOS = ("north", "south", "west", "east")
START = initial_vector(TINY_MODEL, ITEMS)
ROUNDS_CHARGED, STEPS = 3, 2


def plan_for(mode: str) -> PrivacyPlan:
    steps = ROUNDS_CHARGED * (1 if mode == "joint" else STEPS)
    return PrivacyPlan(GaussianEvent(1.5, 0.5, steps))


def job(mode: str = "local", round_number: int = 1, **changes: object) -> PrivateJob:
    config = FederatedTrainingConfig.model_validate(
        {
            "data": {"dataset": "ml-100k"},
            "cohort": {"min_silos": 3},
            "model": TINY_MODEL,
            "privacy": {
                "mode": mode,
                "declared_users": 100,
                "sampling_probability": 0.5,
                "steps_per_round": STEPS,
            },
        }
    )
    made = private_job(config, plan_for(mode), round_number, SILOS, VOCABULARY, None)
    return replace(made, mechanism=replace(made.mechanism, **changes))


@pytest.fixture
def silo(tmp_path):
    def started(mode: str = "local", *, charged: bool = True) -> SiloWorkspace:
        (workspace,) = InProcessCohort(["north"], tmp_path).workspaces.values()
        workspace.put(cycling_users(60, ITEMS, length=9))
        workspace.put(VOCABULARY)
        if charged:
            workspace.put(ChargedPlan(plan_for(mode)))
        return workspace

    return started


MODES = ("local", "joint")


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_trained_before_it_is_charged(silo, mode):
    workspace = silo(mode, charged=False)
    with pytest.raises(PrivacyBudgetError, match="has charged nothing"):
        train_round_privately(workspace, START, job(mode))
    assert not workspace.has(Contribution)


MORE = {
    "a round too many": {"round_number": ROUNDS_CHARGED + 1},
    "less noise": {"noise_multiplier": 1.4},
    "more people": {"sampling_probability": 0.6},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("more", MORE)
def test_a_silo_does_no_more_than_it_charged(silo, mode, more):
    workspace = silo(mode)
    with pytest.raises(PrivacyBudgetError, match="than its ledger charged"):
        train_round_privately(workspace, START, job(mode, **MORE[more]))
    assert not workspace.has(Contribution)


@pytest.mark.parametrize("mode", MODES)
def test_asked_again_a_silo_says_the_same_with_the_same_noise(silo, mode):
    first, again = silo(mode), silo(mode)
    receipt = train_round_privately(first, START, job(mode))
    assert train_round_privately(again, START, job(mode)) == receipt
    words = [w.get(Contribution).words for w in (first, again)]
    assert np.array_equal(*words)


@pytest.mark.parametrize("mode", MODES)
def test_a_round_is_not_trained_from_two_models(silo, mode):
    train_round_privately(silo(mode), START, job(mode))
    with pytest.raises(PrivacyBudgetError, match="trains it once only"):
        train_round_privately(silo(mode), START + np.float32(1), job(mode))


def test_a_silo_does_not_go_back_to_a_round_that_it_forgot(silo):
    workspace = silo()
    for number in (1, 2, 3):  # the updates of two rounds are kept
        train_round_privately(workspace, START, job(round_number=number))
    with pytest.raises(PrivacyBudgetError, match="does not train it again"):
        train_round_privately(workspace, START, job(round_number=1))


@pytest.mark.parametrize("mode", MODES)
def test_a_receipt_tells_nothing_of_how_many_people_there_are(silo, mode):
    assert train_round_privately(silo(mode), START, job(mode)).train_seconds == 0.0


def test_the_mean_update_comes_without_a_loss(silo):
    workspace = silo()
    train_round_privately(workspace, START, job())
    words = workspace.get(Contribution).words
    mean = job().encoding.decode(words.view(np.int32))
    assert np.isnan(mean.loss)
    assert 0 < mean.norm < 1


def test_the_noise_of_a_round_is_that_of_the_shares_in_its_sum():
    alone, shared = job("local"), job("joint")
    assert alone.noise_in(SILOS) == alone.noise_in(SILOS[:3]) == 1.5
    assert shared.noise_in(SILOS[:3]) == pytest.approx(1.5)
    assert shared.noise_in(SILOS) == pytest.approx(1.5 * math.sqrt(3 / 2))
    with pytest.raises(ConfigError, match="a sum of 2 silos is outside 3 to 4"):
        shared.noise_in(SILOS[:2])


def test_joint_noise_is_a_share_that_goes_into_no_small_sum(silo):
    workspace, asked = silo("joint"), job("joint")
    train_round_privately(workspace, START, asked)
    contribution = workspace.get(Contribution)
    assert contribution.fewest_silos == 3
    assert isinstance(asked.encoding, JointEncoding)
    assert contribution.kind == asked.input_kind(vector_hash(START))


def test_joint_steps_go_downhill_by_the_mean_gradient(silo, tmp_path):
    """Without noise to speak of, four equal silos move as one of them would."""
    asked = job("joint")
    quiet = replace(
        asked,
        encoding=JointEncoding(
            replace(asked.encoding.noise, noise_multiplier=1e-4), asked.encoding.users
        ),
        mechanism=replace(asked.mechanism, sampling_probability=0.5),
    )
    total = np.zeros(START.size, np.int64)
    for number in range(4):
        folder = tmp_path / str(number)
        (workspace,) = InProcessCohort(["north"], folder).workspaces.values()
        workspace.put(cycling_users(60, ITEMS, length=9))
        workspace.put(VOCABULARY)
        workspace.put(ChargedPlan(plan_for("joint")))
        train_round_privately(workspace, START, quiet)
        total += workspace.get(Contribution).words.view(np.int32)
    update = quiet.encoding.decode(total).update
    expected_users = 4 * 100 * 0.5
    assert 0 < np.linalg.norm(update) <= 0.5 * 240 / expected_users
