"""A round whose attempts are interrupted anyhow: one sum at most, and always one."""

import random
from dataclasses import dataclass, field

import pytest

from data_contracts.errors import ConfigError, QuorumLostError, SiloError
from data_contracts.settings.secure_aggregation import SecureAggregationConfig
from data_contracts.workspace import COUNTS, Contribution
from tasks.secure_aggregation.confirmed_before import to_finish
from tasks.secure_aggregation.task import aggregate_securely, exchange_keys_early
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.secure_round import integer_sum, random_inputs

STEPS = (
    "advertise_keys",
    "share_keys",
    "upload_masked_input",
    "confirm_survivors",
    "reveal_shares",
)
SIZE = 5
SETTINGS = SecureAggregationConfig()


@dataclass
class Round:
    """One round of silos that keep nothing but their folders between attempts."""

    folder: object
    num_silos: int
    opened: list = field(default_factory=list)
    attempts: int = 0

    def __post_init__(self):
        self.inputs = random_inputs(self.num_silos, SIZE)

    def attempt(self, *, fails=(), unsent=(), absent=(), early=False):
        """Sum again, with processes that began anew.

        Args:
            fails: (silo, step) that raises before it does anything.
            unsent: (silo, step) whose answer is lost.
            absent: silos without an input.
            early: exchange keys before inputs are there.
        """
        self.attempts += 1
        cohort = InProcessCohort(self.inputs, self.folder)
        cohort.sabotage = {at: SiloError("gone") for at in fails}

        def lossy(step, workspace, *args):
            answer = step(workspace, *args)
            if (workspace.silo, step.__name__) in unsent:
                raise SiloError("lost")
            return answer

        cohort.meddler = lossy
        common = {"min_silos": 2, "kind": COUNTS, "attempt": 2 * self.attempts - 1}
        keys = None
        if early:
            keys = exchange_keys_early(
                cohort, "model update", 3, SETTINGS, length=SIZE,
                deadline_seconds=None, **common,
            )  # fmt: skip
        for silo, words in self.inputs.items():
            cohort.workspaces[silo].put(Contribution(words.copy()))
        members = cohort.only(s for s in cohort.silos if s not in absent)
        try:
            total = aggregate_securely.fn(
                members, "model update", 3, SETTINGS, early=keys, **common
            )
        finally:
            if keys:  # its thread would die with the process
                keys.give_up()
        self.opened.append(total)
        return total


def disturbed_at_random(dice, silos):
    """What goes wrong in an attempt."""
    where = [(silo, step) for silo in silos for step in STEPS]
    chosen = dice.sample(where, dice.randint(0, len(silos)))
    cut = dice.randint(0, len(chosen))
    absent = [silo for silo in silos if dice.random() < 0.1]
    return {
        "fails": chosen[:cut], "unsent": chosen[cut:], "absent": absent,
        "early": dice.random() < 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
def test_once_everybody_is_back_the_sum_is_opened_and_no_other_ever_was(seed, tmp_path):
    dice = random.Random(seed)
    one = Round(tmp_path, dice.randint(3, 7))
    for _ in range(dice.randint(1, 4)):
        try:
            one.attempt(**disturbed_at_random(dice, list(one.inputs)))
        except (QuorumLostError, ConfigError):  # a single silo is refused as a mistake
            continue
    one.attempt(early=dice.random() < 0.5)
    sums = {tuple(found.total.tolist()) for found in one.opened}
    assert len(sums) == 1
    members = one.opened[-1].contributors
    chosen = {silo: one.inputs[silo] for silo in members}
    assert one.opened[-1].total.tolist() == integer_sum(chosen)


def test_a_single_signature_binds_the_round_wherever_it_can_be_finished(tmp_path):
    """Killed when one had signed; then another is late; then all are there."""
    one = Round(tmp_path, 6)
    others = [(silo, "confirm_survivors") for silo in list(one.inputs)[1:]]
    with pytest.raises(QuorumLostError):
        one.attempt(fails=others, absent=("silo-6",))
    with pytest.raises(QuorumLostError, match=r"5 .*silo-3"):
        one.attempt(fails=[("silo-3", "share_keys")], early=True)
    assert sorted(one.attempt(early=True).contributors) == [
        "silo-1", "silo-2", "silo-3", "silo-4", "silo-5"
    ]  # fmt: skip


def test_silos_that_signed_nothing_go_on_without_one_that_waits_for_the_lost():
    whole = ("a", "b", "c", "d", "gone")
    told = {"a": whole, "b": (), "c": (), "d": ()}
    assert to_finish(told) == ("b", "c", "d")
    assert to_finish(told | {"b": whole}) == ()
    assert to_finish(told | {"gone": ()}) == whole


def test_of_two_lists_the_one_that_can_be_signed_is_finished():
    old, new = ("a", "b", "c", "d"), ("b", "c", "d")
    assert to_finish({"a": old, "b": new, "c": new, "d": ()}) == new
    assert to_finish({"a": old, "b": old, "c": new, "d": ()}) == old
