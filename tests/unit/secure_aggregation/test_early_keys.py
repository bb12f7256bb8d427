"""Keys exchanged before there is anything to sum."""

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.errors import QuorumLostError, SiloError
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import Contribution, InputKind
from tasks.secure_aggregation.task import aggregate_securely, exchange_keys_early
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import integer_sum, random_inputs

KIND = InputKind(32, "encoding", "model")
LENGTH = 30
CONFIG = SecureAggregationConfig()


class Round:
    """Keys first, then training, then the sum."""

    def __init__(self, folder, num_silos, config=CONFIG):
        self.inputs = random_inputs(num_silos, LENGTH)
        self.cohort = InProcessCohort(self.inputs, folder)
        self.config = config
        self.early = None

    def exchange(self):
        self.early = exchange_keys_early(
            self.cohort, "model update", 3, self.config,
            min_silos=2, kind=KIND, length=LENGTH, deadline_seconds=60.0,
        )  # fmt: skip
        if self.early:
            self.early._begun.exception()  # Wait: the order of steps is under test.

    def train(self, without=(), kind=KIND):
        for silo, words in self.inputs.items():
            if silo not in without:
                contribution = Contribution(words.copy(), kind)
                self.cohort.workspaces[silo].put(contribution)
        self.trained = [s for s in self.inputs if s not in without]

    def sum(self):
        return aggregate_securely.fn(
            self.cohort.only(self.trained), "model update", 3, self.config,
            min_silos=2, kind=KIND, early=self.early,
        )  # fmt: skip

    def expected(self, *left_out):
        return integer_sum({s: w for s, w in self.inputs.items() if s not in left_out})


def test_the_exchange_is_not_repeated_and_the_sum_is_exact(tmp_path):
    played = Round(tmp_path, 5)
    played.exchange()
    assert played.cohort.steps == ["advertise_keys", "share_keys"]
    played.train()
    result = played.sum()
    assert result.total.tolist() == played.expected()
    assert played.cohort.steps[2:] == [
        "upload_masked_input", "confirm_survivors", "reveal_shares"
    ]  # fmt: skip
    assert [row.phase for row in result.phases][:2] == ["advertise keys", "share keys"]


def test_a_silo_that_fails_to_train_is_a_dropout_like_any_other(tmp_path):
    played = Round(tmp_path, 5)
    played.exchange()
    played.train(without=["silo-4"])
    result = played.sum()
    assert result.total.tolist() == played.expected("silo-4")
    assert played.cohort.steps.count("advertise_keys") == 1


def test_with_too_few_of_them_left_the_others_exchange_fresh_keys(tmp_path):
    """Five silos need four; of the three that trained, three are enough."""
    played = Round(tmp_path, 5)
    played.exchange()
    played.train(without=["silo-2", "silo-5"])
    result = played.sum()
    assert result.total.tolist() == played.expected("silo-2", "silo-5")
    assert played.cohort.steps.count("advertise_keys") == 2


@pytest.mark.parametrize("step", ["advertise_keys", "share_keys"])
def test_an_exchange_that_failed_is_made_again(step, tmp_path):
    played = Round(tmp_path, 3)
    played.cohort.sabotage["silo-1", step] = SiloError("gone for a moment")
    played.exchange()
    played.cohort.sabotage.clear()
    played.train()
    assert played.sum().total.tolist() == played.expected()


@pytest.mark.parametrize(
    "kind", [replace(KIND, model_hash="other"), replace(KIND, encoding_hash="other")]
)
def test_an_input_from_another_model_or_encoding_never_leaves_its_silo(kind, tmp_path):
    played = Round(tmp_path, 5)
    played.exchange()
    played.train()
    words = played.inputs["silo-3"].copy()
    played.cohort.workspaces["silo-3"].put(Contribution(words, kind))
    result = played.sum()
    assert result.total.tolist() == played.expected("silo-3")
    assert "another global model" in result.dropped["silo-3"].sentence


def test_an_input_of_another_length_is_left_out(tmp_path):
    played = Round(tmp_path, 5)
    played.exchange()
    played.train()
    odd = Contribution(np.zeros(LENGTH + 1, np.uint32), KIND)
    played.cohort.workspaces["silo-3"].put(odd)
    result = played.sum()
    assert result.total.tolist() == played.expected("silo-3")
    assert "must be 30 words" in result.dropped["silo-3"].sentence


def test_a_round_is_still_summed_once(tmp_path):
    played = Round(tmp_path, 5)
    played.exchange()
    played.train()
    played.sum()
    played.exchange()
    played.train(without=["silo-1"])
    with pytest.raises(QuorumLostError, match="a sum of model update in round 3 was"):
        played.sum()


@pytest.mark.parametrize(
    "settings",
    [{"mode": "plain"}, {"mode": "two-aggregators"}, {"groups": 2}],
)
def test_where_nothing_can_be_done_early_nothing_is(settings, tmp_path):
    played = Round(tmp_path, 6, SecureAggregationConfig(**settings))
    played.exchange()
    assert played.early is None
    assert played.cohort.steps == []
    played.train()
    assert played.sum().total.tolist() == played.expected()
