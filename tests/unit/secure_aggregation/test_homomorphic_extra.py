"""Mode homomorphic without its library, and what is said before a run."""

import sys

import pytest

from data_contracts.errors import ConfigError, SiloError
from data_contracts.exposure import HOMOMORPHIC_WARNING, TWO_SILOS_WARNING
from data_contracts.progress import Silence, listening
from data_contracts.settings.evaluation import EvaluationConfig
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import COUNTS, Contribution
from tasks.evaluation.task import pair_sums
from tasks.secure_aggregation import silo_side
from tasks.secure_aggregation.task import require_sums_fit, say_what_is_exposed
from tests.simulators.homomorphic_federation import HOMOMORPHIC, aggregate, shelve
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import random_inputs, terms_for


class Heard(Silence):
    def __init__(self):
        self.notes = []

    def note(self, sentence):
        self.notes.append(sentence)


@pytest.fixture
def without_tenseal(monkeypatch):
    monkeypatch.setitem(sys.modules, "tenseal", None)


@pytest.fixture
def cohort(tmp_path):
    inputs = random_inputs(3, 10)
    cohort = InProcessCohort(inputs, tmp_path)
    shelve(cohort, inputs)
    return cohort


def test_without_the_extra_the_coordinator_says_what_to_install(
    without_tenseal, cohort
):
    with pytest.raises(ConfigError, match=r"pip install 'silorec\[he\]'"):
        aggregate(cohort)
    assert cohort.steps == []


def test_without_the_extra_a_silo_says_what_to_install(without_tenseal, cohort):
    terms = terms_for(3, kind=COUNTS)
    with pytest.raises(SiloError, match=r"pip install 'silorec\[he\]'"):
        silo_side.advertise_channel_key(cohort.workspaces["silo-1"], terms)
    assert cohort.workspaces["silo-1"].has(Contribution)


@pytest.mark.parametrize("mode", ["masked", "plain"])
def test_the_other_modes_do_not_need_it(mode, without_tenseal, cohort):
    result = aggregate(cohort, config=SecureAggregationConfig(mode=mode))
    assert result.mode == mode


@pytest.mark.parametrize("silos", [("a", "b"), ("a", "b", "c")])
def test_a_person_is_told_what_the_mode_does_not_hide(silos):
    heard = Heard()
    with listening(heard):
        say_what_is_exposed(silos, HOMOMORPHIC)
    assert heard.notes == [HOMOMORPHIC_WARNING, TWO_SILOS_WARNING][: 4 - len(silos)]


def test_a_sum_that_will_be_too_long_is_refused_before_the_first_round():
    config = HOMOMORPHIC.model_copy(update={"homomorphic_max_parameters": 100})
    require_sums_fit({"model update": 100}, config)
    with pytest.raises(ConfigError, match="sum of transitions has 400 numbers"):
        require_sums_fit({"model update": 100, "transitions": 400}, config)
    require_sums_fit({"transitions": 400}, SecureAggregationConfig())


@pytest.mark.parametrize(
    ("baselines", "items", "expected"),
    [
        (True, 20, {"transitions": 400, "item pairs": 210}),
        (True, 8_001, {"transitions": 8_001**2}),
        (True, 12_001, {}),
        (False, 20, {}),
    ],
)
def test_baselines_ask_for_every_pair_of_items(baselines, items, expected):
    assert pair_sums(EvaluationConfig(baselines=baselines), items) == expected
