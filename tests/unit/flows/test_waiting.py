"""A run waits for its silos, for a while."""

import pytest

from data_contracts.errors import QuorumLostError
from data_contracts.progress import listening
from flows.waiting import waiting_for_silos
from tests.simulators.small_federation import Notebook


class Stretches:
    """Loses the quorum so many times, then ends."""

    def __init__(self, times, waits_for=("south",), run_id="run-1"):
        self.times, self.waits_for, self.run_id = times, waits_for, run_id
        self.asked = []

    def __call__(self, resume):
        self.asked.append(resume)
        if len(self.asked) > self.times:
            return "model"
        lost = QuorumLostError("too few silos")
        lost.waits_for, lost.run_id = self.waits_for, self.run_id
        raise lost


def test_it_goes_on_with_the_same_run_once_silos_are_back():
    stretches, pauses, heard = Stretches(3), [], Notebook()
    with listening(heard):
        found = waiting_for_silos(stretches, None, 10, sleep=pauses.append)
    assert found == "model"
    assert stretches.asked == [None, "run-1", "run-1", "run-1"]
    assert pauses == [5, 10, 20]
    assert "Run run-1 is paused: it waits for silo south" in heard.notes[0]


def test_its_patience_is_what_was_asked_for():
    stretches, pauses, heard = Stretches(1000), [], Notebook()
    with listening(heard), pytest.raises(QuorumLostError):
        waiting_for_silos(stretches, None, 2, sleep=pauses.append)
    assert sum(pauses) == 120
    assert heard.notes[-1].endswith("silorec resume run-1")


@pytest.mark.parametrize(
    "stretches",
    [Stretches(1, waits_for=()), Stretches(1, run_id="")],
    ids=["nobody is away", "before the run is on record"],
)
def test_it_does_not_wait_for_what_waiting_cannot_mend(stretches):
    with pytest.raises(QuorumLostError):
        waiting_for_silos(stretches, None, 10, sleep=pytest.fail)
    assert len(stretches.asked) == 1


def test_without_patience_the_first_lost_quorum_is_the_last():
    with pytest.raises(QuorumLostError):
        waiting_for_silos(Stretches(1), "run-1", 0, sleep=pytest.fail)
