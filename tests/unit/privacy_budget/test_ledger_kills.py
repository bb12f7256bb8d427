"""SIGKILL between intent, use and settlement: never charged too little, nor twice."""

import subprocess
import sys
from pathlib import Path

import pytest

from data_contracts.privacy_events import GaussianEvent
from data_contracts.privacy_plan import PrivacyPlan
from data_contracts.settings.cohort import SiloConfig
from data_contracts.settings.privacy import PrivacyConfig
from data_contracts.workspace import SiloWorkspace
from models.privacy.accounting import epsilon
from tasks.privacy_budget.silo_side import charge_run, settle_run

PRIVACY = PrivacyConfig(mode="local", epsilon=8.0, declared_users=1000)
PLAN = PrivacyPlan(GaussianEvent(2.0, 0.2, 50))
FULL = epsilon(PLAN.events, PRIVACY.target_delta)
USED = "used"

RUN = """
import os, signal, sys
from pathlib import Path
from tasks.privacy_budget.ledger import Ledger
from tests.unit.privacy_budget.test_ledger_kills import PLAN, PRIVACY, USED, workspace
from tasks.privacy_budget.silo_side import charge_run, settle_run

folder, point = Path(sys.argv[1]), sys.argv[2]
def die(here):
    if here == point:
        os.kill(os.getpid(), signal.SIGKILL)

honest, calls = Ledger.append, []
def append(self, entry):
    calls.append(entry)
    die(f"before entry {len(calls)}")
    honest(self, entry)
    die(f"after entry {len(calls)}")
Ledger.append = append
write_through = Ledger._write_through
def sync(self, version):
    die(f"before entry {len(calls)} is on disk")
    write_through(self, version)
Ledger._write_through = sync

silo = workspace(folder)
charge_run(silo, PRIVACY, PLAN)
die("before use")
(folder / USED).touch()
die("after use")
settle_run(silo, PRIVACY, PLAN.training.steps)
"""

POINTS = (
    "before entry 1",
    "before entry 1 is on disk",
    "after entry 1",
    "before use",
    "after use",
    "before entry 2",
    "before entry 2 is on disk",
    "after entry 2",
)


def workspace(folder: Path, run_id: str = "run-1") -> SiloWorkspace:
    return SiloWorkspace(SiloConfig(name="north"), run_id, folder)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_run_is_charged_once_and_for_what_it_may_have_used(point, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path), point], check=False
    )
    assert done.returncode == -9
    used = (tmp_path / USED).exists()
    settled = point in {"before entry 2 is on disk", "after entry 2"}
    other = charge_run(workspace(tmp_path, "another"), PRIVACY, PLAN)
    charged_before = other.epsilon > FULL
    assert charged_before or not used, "people's data was used and nothing charged"
    if not settled:
        charge_run(workspace(tmp_path), PRIVACY, PLAN)
    told = settle_run(workspace(tmp_path), PRIVACY, PLAN.training.steps)
    twice = epsilon([*PLAN.events, *PLAN.events], PRIVACY.target_delta)
    assert told.epsilon == pytest.approx(twice)  # once each, whatever was started anew
