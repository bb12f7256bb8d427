"""A round goes on without a silo whose training fails, and says who and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.errors import FailureReason
from data_contracts.records import POOLED_SILOS, RunStatus, Subject, Verdict
from tasks.reporting.report import report_path
from tests.simulators.sabotage import Mischief, be_killed, meddling, start_from_nan
from tests.simulators.small_federation import small_config, train
from tests.simulators.synthetic_tables import synthetic_silo

pytestmark = pytest.mark.slow

SILOS = ("north", "south", "west", "east")
MISCHIEF = Mischief({("east", 1): start_from_nan, ("east", 3): be_killed})


@pytest.fixture(scope="module")
def troubled_run(tmp_path_factory, ray_session, prefect_session):
    """East's loss is NaN in round 1, and its process is killed in round 3."""
    folder = tmp_path_factory.mktemp("troubled")
    members = [
        synthetic_silo(folder, name, users=60, items=100, seed=seed)
        for seed, name in enumerate(SILOS)
    ]
    with meddling(MISCHIEF):
        return train(small_config(members, folder / "output", schedule={"rounds": 3}))


def participants(run, round_number):
    return {
        row.silo: row
        for row in run.history.participants
        if row.round_number == round_number
    }


def test_the_run_completes(troubled_run):
    assert troubled_run.history.run.status == RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("round_number", "reason"),
    [(1, FailureReason.NOT_FINITE), (3, FailureReason.DIED)],
)
def test_only_the_failed_silo_is_left_out_and_the_record_says_why(
    troubled_run, round_number, reason
):
    told = participants(troubled_run, round_number)
    assert [silo for silo, row in told.items() if not row.contributed] == ["east"]
    assert set(told) == set(SILOS)
    assert told["east"].reason.startswith(reason)
    assert not told["east"].update_commitment


def test_a_silo_left_out_of_one_round_contributes_to_the_next(troubled_run):
    assert all(row.contributed for row in participants(troubled_run, 2).values())


def test_rounds_count_contributors_and_dropped_silos(troubled_run):
    counts = [(row.contributors, row.dropped) for row in troubled_run.history.rounds]
    assert counts == [(3, 1), (4, 0), (3, 1)]


def test_leaving_a_silo_out_is_a_recorded_decision(troubled_run):
    left_out = [
        (row.round_number, row.silo)
        for row in troubled_run.history.decisions
        if row.verdict == Verdict.SILO_LEFT_OUT
    ]
    assert left_out == [(1, "east"), (3, "east")]


def test_the_report_says_why_a_silo_was_left_out(troubled_run):
    folder = troubled_run.config.output_folder
    text = Path(report_path(troubled_run.history, folder)).read_text("utf-8")
    assert FailureReason.NOT_FINITE in text
    assert FailureReason.DIED in text


def test_a_silo_that_is_started_again_is_in_the_figures_of_the_test_window(
    troubled_run,
):
    users = {
        row.silo: row.users
        for row in troubled_run.history.metrics
        if (row.subject, row.window) == (Subject.FEDERATED, "test")
    }
    assert users == dict.fromkeys(SILOS, 60) | {POOLED_SILOS: 240}
