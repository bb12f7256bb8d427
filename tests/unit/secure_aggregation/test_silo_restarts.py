"""A silo's process dies and starts anew before a step: only its folder is left."""

import pytest

from data_contracts.errors import QuorumLostError, SiloError
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import Contribution, SiloWorkspace
from tasks.secure_aggregation.task import aggregate_securely
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import integer_sum, random_inputs

STEPS = [
    "advertise_keys",
    "share_keys",
    "upload_masked_input",
    "confirm_survivors",
    "reveal_shares",
]


class Restarting(InProcessCohort):
    """Some silos restart just before a step; `new_processes` holds (silo, step)."""

    new_processes: frozenset[tuple[str, str]] = frozenset()

    def call(self, step, *args, **options):
        for silo, name in self.new_processes:
            if name == step.__name__:
                old = self.workspaces[silo]
                self.workspaces[silo] = SiloWorkspace(
                    old.config, old.run_id, old.folder
                )
        return super().call(step, *args, **options)


def federation(folder, restarts=frozenset(), num_silos=5):
    inputs = random_inputs(num_silos, 20)
    cohort = Restarting(inputs, folder)
    cohort.new_processes = restarts
    for silo, words in inputs.items():
        cohort.workspaces[silo].put(Contribution(words.copy()))
    return inputs, cohort


def aggregate(cohort, **options):
    return aggregate_securely.fn(
        cohort, "model update", 3, SecureAggregationConfig(), min_silos=2, **options
    )


@pytest.mark.parametrize("step", STEPS)
def test_one_silo_that_restarts_is_one_dropout(step, tmp_path):
    inputs, cohort = federation(tmp_path, frozenset({("silo-2", step)}))
    result = aggregate(cohort)
    uploaded = step in STEPS[3:]
    left = {s: w for s, w in inputs.items() if uploaded or s != "silo-2"}
    assert result.total.tolist() == integer_sum(left)
    lost = result.faults if uploaded else result.dropped
    assert list(lost) == ["silo-2"]
    assert "start the run again" in lost["silo-2"].sentence


def lost_attempt(folder, step):
    """All silos restart before a step: the attempt is lost."""
    everybody = frozenset((f"silo-{i}", step) for i in range(1, 6))
    inputs, cohort = federation(folder, everybody)
    with pytest.raises(QuorumLostError, match="nothing was opened"):
        aggregate(cohort)
    return inputs


@pytest.mark.parametrize("step", STEPS)
def test_a_lost_attempt_is_repeated_with_the_same_silos_and_inputs(step, tmp_path):
    inputs = lost_attempt(tmp_path, step)
    _, again = federation(tmp_path)
    assert aggregate(again).total.tolist() == integer_sum(inputs)


@pytest.mark.parametrize("step", STEPS)
def test_without_a_silo_it_is_repeated_only_if_nobody_confirmed(step, tmp_path):
    inputs = lost_attempt(tmp_path, step)
    _, again = federation(tmp_path)
    without = again.only(silo for silo in again.silos if silo != "silo-2")
    if step == "reveal_shares":
        # They confirmed a list: another one could be differenced against it.
        with pytest.raises(QuorumLostError, match="was confirmed before"):
            aggregate(without)
    else:
        left = {silo: words for silo, words in inputs.items() if silo != "silo-2"}
        assert aggregate(without).total.tolist() == integer_sum(left)


def test_a_silo_hands_over_no_other_input_of_the_same_round(tmp_path):
    inputs = lost_attempt(tmp_path, "confirm_survivors")
    _, again = federation(tmp_path)
    changed = inputs["silo-3"].copy()
    changed[0] += 1
    again.workspaces["silo-3"].put(Contribution(changed))
    result = aggregate(again)
    assert "was handed over before" in result.dropped["silo-3"].sentence


def test_a_round_that_was_confirmed_is_finished_with_exactly_those_silos(tmp_path):
    """Silo 2 was not in the confirmed sum; it has an input now, and stays out."""
    inputs, cohort = federation(tmp_path)
    cohort.sabotage["silo-2", "upload_masked_input"] = SiloError("gone")
    cohort.sabotage |= {
        (silo, "reveal_shares"): SiloError("gone") for silo in cohort.silos
    }
    with pytest.raises(QuorumLostError, match="nothing was opened"):
        aggregate(cohort)
    _, again = federation(tmp_path)
    left = {silo: words for silo, words in inputs.items() if silo != "silo-2"}
    assert aggregate(again, attempt=2).total.tolist() == integer_sum(left)


def test_a_silo_that_confirmed_and_is_missing_stops_the_round_by_name(tmp_path):
    lost_attempt(tmp_path, "reveal_shares")
    _, again = federation(tmp_path)
    without = again.only(silo for silo in again.silos if silo != "silo-2")
    with pytest.raises(QuorumLostError, match="silo-2 in it, which is missing now"):
        aggregate(without, attempt=2)
