"""From an empty folder to a model, its lineage and its report, command by command."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.simulators.three_formats import SILOS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machine(newcomer_run):
    return newcomer_run.sandbox


@pytest.fixture(scope="module")
def told_runs(machine):
    asked = machine.silorec("lineage", "runs", "--json")
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def test_training_succeeds_and_says_what_it_brought_and_what_to_do_next(newcomer_run):
    done = newcomer_run.done
    assert done.returncode == 0, done.stderr
    assert "Training together raised NDCG@10" in done.stdout
    assert all(silo in done.stdout for silo in SILOS)
    assert "silorec lineage show" in done.stdout


def test_progress_goes_to_stderr_without_a_log_of_prefect_or_ray(newcomer_run):
    lines = newcomer_run.done.stderr.splitlines()
    assert lines[0] == "Starting Prefect and Ray"
    assert any(line.startswith("round 2/2  loss ") for line in lines)
    assert not [line for line in lines if "INFO" in line or "Traceback" in line]


def test_the_run_is_listed_as_completed(told_runs):
    assert [(run["name"], run["status"]) for run in told_runs] == [
        ("my-federation", "completed")
    ]


def test_lineage_shows_every_silo_behind_the_published_model(machine, told_runs):
    run_id = told_runs[0]["run_id"]
    told = json.loads(machine.silorec("lineage", "show", run_id, "--json").stdout)
    (share,) = told["shares"]
    assert {row["silo"] for row in share["participants"]} == set(SILOS)
    shown = machine.silorec("lineage", "show", told["model"]["sha256"][:12])
    assert shown.returncode == 0
    assert all(silo in shown.stdout for silo in SILOS)


def test_lineage_lists_the_models_that_hold_a_silos_data(machine, told_runs):
    asked = machine.silorec("lineage", "models", "--silo", "south", "--json")
    models = json.loads(asked.stdout)
    assert {model["run_id"] for model in models} == {told_runs[0]["run_id"]}
    assert [model["published"] for model in models].count(True) == 1
    shown = machine.silorec("lineage", "models", "--silo", "south")
    assert shown.returncode == 0
    assert models[0]["sha256"][:12] in shown.stdout


def test_an_unknown_silo_in_a_question_is_a_mistake_not_an_empty_answer(machine):
    asked = machine.silorec("lineage", "models", "--silo", "sout")
    assert asked.returncode == 2
    assert asked.stderr.startswith("silorec: no recorded round names a silo 'sout'")


def test_the_report_can_be_written_again(machine, told_runs):
    written = machine.work / "silorec_output/reports" / f"{told_runs[0]['run_id']}.html"
    before = written.read_bytes()
    written.unlink()
    asked = machine.silorec("report", told_runs[0]["run_id"])
    assert asked.returncode == 0, asked.stderr
    assert Path(machine.work, asked.stdout.strip()) == written
    assert written.read_bytes() == before


def test_nothing_of_ours_still_runs(machine):
    assert machine.survivors() == []


def test_the_embedded_server_recorded_every_task_run_that_a_real_one_did(
    newcomer_run, deployed_run, deployed_server
):
    assert deployed_run.done.returncode == 0, deployed_run.done.stderr
    with sqlite3.connect(newcomer_run.sandbox.database) as database:
        recorded = database.execute("SELECT task_key, state_type FROM task_run")
        embedded = Counter(recorded.fetchall())
    real = Counter(
        (run["task_key"], run["state_type"])
        for run in deployed_server.ask("task_runs/filter", limit=200)
    )
    assert embedded == real
    assert {state for _, state in embedded} == {"COMPLETED"}
    assert embedded.total() > 30
