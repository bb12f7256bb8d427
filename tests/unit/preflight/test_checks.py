"""Every check says ok, warning or failed, in one sentence, with what to do."""

from __future__ import annotations

import pytest

from data_contracts.errors import FailureReason, QuorumLostError
from data_contracts.exposure import PLAIN_WARNING
from data_contracts.preflight import CheckStatus
from data_contracts.presets import PRESETS, merged
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.workspace import SiloFailure
from tasks.preflight import checks
from tasks.preflight.checklist import Checklist
from tasks.preflight.estimate import estimate_run
from tasks.preflight.silo_side import available_memory
from tests.simulators.canary import canary_round, resources

OK, WARNING, FAILED = CheckStatus
GONE = {"west": SiloFailure("west", FailureReason.DIED, "the process is gone")}


def config(**sections):
    return FederatedTrainingConfig.model_validate(merged(PRESETS["ml-100k"], sections))


def of(check):
    """What a person sees first; whoever has something to do is told what."""
    assert bool(check.remedy) == (check.status is not OK)
    return check.status


def test_a_silo_that_does_not_answer_is_a_warning_while_the_quorum_holds():
    told = {silo: resources() for silo in ("north", "south")}
    found = {
        quorum: next(checks.check_silos_answer(told, GONE, "c0" * 32, quorum))
        for quorum in (2, 3)
    }
    assert (of(found[2]), of(found[3])) == (WARNING, FAILED)
    assert "silo west: process died, the process is gone" in found[3].sentence


def test_other_code_at_a_silo_is_told_by_name():
    told = {silo: resources() for silo in ("north", "south", "west")}
    same = list(checks.check_silos_answer(told, {}, "c0" * 32, 3))[1]
    other = list(checks.check_silos_answer(told, {}, "c1" * 32, 3))[1]
    assert (of(same), of(other)) == (OK, WARNING)
    assert "north, south, west run other code" in other.sentence


@pytest.mark.parametrize(("quorum", "status"), [(2, WARNING), (3, FAILED)])
def test_a_broken_contract_is_told_with_its_reason(quorum, status):
    why = {"west": "silo west is quarantined: users.age breaks a rule"}
    (found,) = checks.check_contracts(("north", "south"), why, quorum)
    assert of(found) is status
    assert found.sentence == why["west"]


def test_sums_that_hide_less_than_one_may_think_are_warned_of():
    (masked,) = checks.check_policy(config(), 4)
    (plain,) = checks.check_policy(config(secure_aggregation={"mode": "plain"}), 4)
    (two,) = checks.check_policy(config(), 2)
    assert [of(masked), of(plain), of(two)] == [OK, WARNING, WARNING]
    assert plain.sentence == PLAIN_WARNING


@pytest.mark.parametrize(
    ("seconds", "status"), [(10.0, OK), (60.0, WARNING), (120.0, FAILED)]
)
def test_a_silo_too_slow_for_the_deadline_is_told_before_it_is_left_out(
    seconds, status
):
    chosen = config(cohort={"deadline_seconds": 100})
    found = checks.check_deadline(canary_round(train_seconds=seconds), chosen)
    assert of(found) is status


@pytest.mark.parametrize(
    ("free", "status"), [(8e9, OK), (1.5e8, WARNING), (5e7, FAILED)]
)
def test_silos_of_one_machine_share_its_memory_and_its_disk(free, status):
    alone = {"north": resources(free_memory=free, free_disk=free)}
    canary = canary_round(told=alone)
    (memory,) = checks.check_memory(canary, config())
    assert of(memory) is status
    assert of(*checks.check_silo_disks(canary)) is status
    three = {s: resources(free_disk=2.5e8) for s in ("north", "south", "west")}
    assert of(*checks.check_silo_disks(canary_round(told=three))) is FAILED
    apart = {s: resources(machine=s, free_disk=2.5e8) for s in three}
    assert {of(c) for c in checks.check_silo_disks(canary_round(told=apart))} == {OK}


def test_the_output_folder_needs_room_for_a_model_of_every_round():
    estimate = estimate_run(
        canary_round(parameters=25_000_000), config(schedule={"rounds": 100})
    )
    assert of(checks.check_output_disk(9e9, estimate)) is FAILED
    assert of(checks.check_output_disk(11e9, estimate)) is WARNING
    assert of(checks.check_output_disk(30e9, estimate)) is OK


def test_an_error_becomes_the_last_check_in_the_stage_it_belongs_to():
    checklist = Checklist()
    with checklist.until_one_fails():
        checklist.add(checks.ok("connectivity", "all answer"))
        checklist.stage("training")
        raise QuorumLostError("too few\nare left")
    assert [c.name for c in checklist.checks] == ["connectivity", "training"]
    assert of(checklist.checks[1]) is FAILED
    assert checklist.checks[1].sentence == "too few; are left"


def test_an_error_that_a_check_has_told_already_is_not_told_twice():
    checklist = Checklist()
    with checklist.until_one_fails():
        checklist.stage("contracts")
        checklist.add(checks.failed("contracts", "west broke it", "repair it"))
        raise QuorumLostError("too few are left")
    assert len(checklist.checks) == 1


def test_a_mistake_in_the_code_is_not_taken_for_a_finding():
    with pytest.raises(ZeroDivisionError), Checklist().until_one_fails():
        raise ZeroDivisionError


def test_available_memory_is_what_linux_says(tmp_path):
    meminfo = tmp_path / "meminfo"
    assert available_memory(meminfo) == 0
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n", "utf-8")
    assert available_memory(meminfo) == 2048 * 1024
