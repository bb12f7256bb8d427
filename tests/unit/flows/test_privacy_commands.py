"""`silorec ledger` and `silorec privacy`, as they are typed."""

import json

import pytest
import yaml

from data_contracts.privacy_events import GaussianEvent
from data_contracts.privacy_plan import PrivacyPlan
from data_contracts.settings.cohort import SiloConfig
from data_contracts.settings.privacy import PrivacyConfig
from data_contracts.workspace import SiloWorkspace
from flows.cli import main
from tasks.privacy_budget.silo_side import charge_run, settle_run

PRIVACY = PrivacyConfig(mode="local", declared_users=1000)
PLAN = PrivacyPlan(GaussianEvent(2.0, 0.2, 50))


@pytest.fixture
def folder(tmp_path):
    """A silo with one settled run."""
    workspace = SiloWorkspace(SiloConfig(name="north"), "run-1", tmp_path / "north")
    charge_run(workspace, PRIVACY, PLAN)
    settle_run(workspace, PRIVACY, 30)
    return tmp_path / "north"


@pytest.fixture
def config(tmp_path):
    tree = {
        "data": {"dataset": "ml-100k"},
        "model": {"items": "features", "dim": 16},
        "schedule": {"rounds": 5},
        "privacy": {"mode": "local", "declared_users": 1000},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tree))
    return str(path)


def test_a_ledger_is_shown_entry_by_entry(folder, capsys):
    assert main(["ledger", "show", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "intent" in told
    assert "settled" in told
    assert "50 steps" in told
    assert "30 steps" in told


def test_a_ledger_is_shown_to_programs(folder, capsys):
    assert main(["ledger", "show", str(folder), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["kind"] for row in rows] == ["intent", "settled"]
    assert rows[0]["epsilon"] > rows[1]["epsilon"] > 0


def test_a_sound_ledger_verifies(folder, capsys):
    assert main(["ledger", "verify", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "entries": 2, "mirrored": 0, "unbroken": True
    }  # fmt: skip


def test_a_folder_that_is_none_is_refused(tmp_path, capsys):
    assert main(["ledger", "show", str(tmp_path / "nobody")]) == 2
    assert "is no folder of a silo" in capsys.readouterr().err


def test_what_is_left_is_planned(folder, config, capsys):
    assert main(["ledger", "plan", "--folder", str(folder), config]) == 0
    told = capsys.readouterr().out
    assert told.startswith("spent: epsilon ")
    assert " 52 runs of 5 rounds: noise" in told


def test_a_plan_comes_with_advice_and_a_picture(config, tmp_path, capsys):
    picture = tmp_path / "epsilon.svg"
    command = ["privacy", "plan", config, "--silos", "5", "--picture", str(picture)]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "advice: model.items features" in told
    assert "noise to signal" in told
    assert "<svg" in picture.read_text()


def test_nothing_is_planned_while_privacy_is_off(capsys):
    assert main(["privacy", "plan", "--dataset", "ml-100k"]) == 2
    assert "privacy.mode is off" in capsys.readouterr().err
