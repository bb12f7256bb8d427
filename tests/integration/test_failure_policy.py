"""Silo processes that die, hang or run short, in real Ray actors."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import pytest

from data_contracts.errors import FailureReason, QuorumLostError
from data_contracts.run_config import ClusterConfig
from data_contracts.settings.cohort import CohortConfig, ComputeConfig, SiloConfig
from data_contracts.workspace import SiloWorkspace
from tasks.cohort import actor, staff
from tasks.cohort.actor import ray_cohort

pytestmark = pytest.mark.slow

SILOS = ("north", "south")
POLICY = {"retries": 1, "restarts": 1, "shortest_deadline_seconds": 5.0}


@dataclass(frozen=True)
class Kept:
    """What a silo must hold for all of a run."""

    value: str


@pytest.fixture
def opened(tmp_path, ray_session, monkeypatch):
    monkeypatch.setattr(staff, "BACK_OFF_SECONDS", 0.05)
    monkeypatch.setattr(actor, "BACK_OFF_SECONDS", 0.05)
    monkeypatch.setattr(staff, "ANSWER_SECONDS", 5.0)

    def cohort(**policy):
        silos = [SiloConfig(name=name, compute=ComputeConfig()) for name in SILOS]
        return ray_cohort(
            silos,
            run_id="run",
            folder=tmp_path,
            cluster=ClusterConfig(silos_at_once=2),
            policy=CohortConfig(**POLICY | policy),
        )

    return cohort


def keep(workspace: SiloWorkspace, value: str) -> str:
    """A lasting step; what it says depends on the silo's data."""
    changed = workspace.folder / "changed"
    workspace.put(Kept(value))
    return changed.read_text() if changed.exists() else "unchanged"


def tell(workspace: SiloWorkspace) -> tuple[int, str]:
    """(process, what was kept)."""
    return os.getpid(), workspace.get(Kept).value


def times_asked(workspace: SiloWorkspace) -> int:
    """Counts on disk how often it ran in this silo."""
    file = workspace.folder / "asked"
    number = 1 + int(file.read_text() if file.exists() else 0)
    file.write_text(str(number))
    return number


def die_at_first(workspace: SiloWorkspace, times: int = 1) -> tuple[int, str]:
    """South's process is killed so many times, then it answers."""
    if workspace.silo == "south" and times_asked(workspace) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return tell(workspace)


def be_short_at_first(workspace: SiloWorkspace, error: Exception) -> int:
    """South runs into the error, the first time."""
    number = times_asked(workspace)
    if workspace.silo == "south" and number == 1:
        raise error
    return number


def sleep(workspace: SiloWorkspace, seconds: float) -> int:
    """South takes its time."""
    time.sleep(seconds if workspace.silo == "south" else 0)
    return os.getpid()


def test_a_silo_that_dies_is_asked_again_and_knows_what_it_knew(opened):
    with opened() as cohort:
        cohort.call(keep, "all", lasting=True)
        before = cohort.call(tell).values
        after = cohort.call(die_at_first, retry=True)
        assert not after.failures
        assert after.values["north"] == before["north"]
        assert after.values["south"][0] != before["south"][0]
        assert after.values["south"][1] == "all"
        assert cohort.restarts == 1
        (told,) = cohort.bring_back().items()
        assert (told[0], told[1].reason) == ("south", FailureReason.DIED)
        assert cohort.bring_back() == {}


def test_a_step_that_must_not_be_repeated_is_not(opened):
    with opened() as cohort:
        cohort.call(keep, "all", lasting=True)
        assert set(cohort.call(die_at_first).failures) == {"south"}
        # Whoever is away is not asked at all until it is brought back.
        assert cohort.call(tell).failures["south"].reason is FailureReason.DIED
        assert cohort.restarts == 0
        assert set(cohort.bring_back()) == {"south"}
        assert set(cohort.call(die_at_first).values) == set(SILOS)


def test_a_silo_that_dies_again_and_again_stays_away(opened):
    with opened(retries=3) as cohort:
        cohort.call(keep, "all", lasting=True)
        replies = cohort.call(die_at_first, 9, retry=True)
        assert replies.failures["south"].reason is FailureReason.DIED
        assert cohort.restarts == 1
        assert set(replies.values) == {"north"}


def test_a_silo_whose_data_changed_meanwhile_stays_away(opened, tmp_path):
    with opened() as cohort:
        cohort.call(keep, "all", lasting=True)
        cohort.call(die_at_first)
        (tmp_path / "south" / "changed").write_text("changed")
        assert cohort.bring_back() == {}
        assert "not what it was" in cohort.call(tell).failures["south"].sentence


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), None),
        (OSError(28, "no space"), None),
        (ConnectionResetError(), None),
        (ValueError("a row"), FailureReason.CRASHED),
        (FileNotFoundError(2, "gone"), FailureReason.CRASHED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_may_pass_is_tried_again(opened, error, reason):
    with opened() as cohort:
        replies = cohort.call(be_short_at_first, error, retry=True)
        assert replies.values["north"] == 1
        if reason is None:
            assert replies.values["south"] == 2
        else:
            assert replies.failures["south"].reason is reason
        assert cohort.restarts == 0


def test_a_hung_silo_gets_a_new_process(opened):
    with opened() as cohort:
        cohort.call(keep, "all", lasting=True)
        before = cohort.call(sleep, 0.0).values
        replies = cohort.call(sleep, 600.0)
        assert replies.failures["south"].reason is FailureReason.TIMED_OUT
        assert set(cohort.bring_back()) == {"south"}
        after = cohort.call(tell).values
        assert after["north"][0] == before["north"]
        assert after["south"][0] != before["south"]
        assert after["south"][1] == "all"


def test_who_was_only_late_comes_back_as_it_is(opened):
    with opened() as cohort:
        before = cohort.call(sleep, 0.0).values
        late = cohort.call(sleep, 5.0, deadline_seconds=2.5)
        assert set(late.failures) == {"south"}
        time.sleep(4.0)
        assert set(cohort.bring_back()) == {"south"}
        assert cohort.call(sleep, 0.0).values == before
        assert cohort.restarts == 0


def test_a_slow_silo_is_waited_for_as_long_as_it_took_before(opened):
    """North answers at once; south's deadline is five times what south took."""
    with opened(shortest_deadline_seconds=2.0) as cohort:
        assert not cohort.call(sleep, 1.0).failures
        assert not cohort.call(sleep, 3.0).failures
        assert set(cohort.call(sleep, 60.0).failures) == {"south"}


def lose_south(opened):
    with opened() as cohort:
        cohort.call(keep, "all", lasting=True)
        cohort.call(die_at_first)
        raise QuorumLostError("too few silos")


def test_a_lost_quorum_names_who_would_make_it_good(opened):
    with pytest.raises(QuorumLostError) as lost:
        lose_south(opened)
    assert lost.value.waits_for == ("south",)
