"""A silo's process dies and starts anew before a step: only its folder is left."""

import pytest

from data_contracts.errors import QuorumLostError
from data_contracts.settings.training import SecureAggregationConfig
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
    """Some silos restart just before a step; `restarts` holds (silo, step)."""

    restarts: frozenset[tuple[str, str]] = frozenset()

    def call(self, step, *args, **options):
        for silo, name in self.restarts:
            if name == step.__name__:
                old = self.workspaces[silo]
                self.workspaces[silo] = SiloWorkspace(
                    old.config, old.run_id, old.folder
                )
        return super().call(step, *args, **options)


def federation(folder, restarts=frozenset(), num_silos=5):
    inputs = random_inputs(num_silos, 20)
    cohort = Restarting(inputs, folder)
    cohort.restarts = restarts
    for silo, words in inputs.items():
        cohort.workspaces[silo].put(Contribution(words.copy()))
    return inputs, cohort


def aggregate(cohort):
    return aggregate_securely.fn(
        cohort, "model update", 3, SecureAggregationConfig(), min_silos=2
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


@pytest.mark.parametrize("step", STEPS)
def test_a_failed_attempt_is_repeated_only_if_nobody_confirmed(step, tmp_path):
    """All silos restart: the attempt is lost. May the round be summed again?"""
    everybody = frozenset((f"silo-{i}", step) for i in range(1, 6))
    _, cohort = federation(tmp_path, everybody)
    with pytest.raises(QuorumLostError, match="nothing was opened"):
        aggregate(cohort)
    inputs, again = federation(tmp_path)
    if step == "reveal_shares":
        # They confirmed a list: another one could be differenced against it.
        with pytest.raises(QuorumLostError, match="was confirmed before"):
            aggregate(again)
    else:
        assert aggregate(again).total.tolist() == integer_sum(inputs)
