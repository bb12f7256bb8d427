"""SIGKILL at every point, `silorec resume`, and the undisturbed run's very bytes."""

from __future__ import annotations

import signal

import pytest

from data_contracts.records import RunStatus
from tests.chaos.chaos_runs import ROOT, ChaosRun, outcome_of
from tests.chaos.kill_points import POINTS, SMOKE
from tests.simulators.command_line import sandbox
from tests.simulators.synthetic_tables import synthetic_silo

NAMES = ("north", "south", "west")


@pytest.fixture(scope="module")
def chaos(prefect_server, tmp_path_factory):
    """Makes runs that share a machine and a Prefect server."""
    folder = tmp_path_factory.mktemp("tables")
    silos = tuple(
        synthetic_silo(folder, name, users=60, items=40, length=30, seed=seed)
        for seed, name in enumerate(NAMES)
    )
    with sandbox(PREFECT_API_URL=prefect_server.api, PYTHONPATH=str(ROOT)) as machine:
        yield lambda name: ChaosRun(machine, silos, name)
        assert machine.survivors() == []


@pytest.fixture(scope="module")
def undisturbed(chaos):
    run = chaos("undisturbed")
    done = run.train()
    assert done.returncode == 0, done.stderr
    return outcome_of(run.history())


def play(chaos, undisturbed, point: str, folder: str) -> str:
    """Kill, resume, compare; returns how the disturbed command ended."""
    run = chaos(folder)
    killed = run.train(point)
    if killed.returncode == -signal.SIGKILL:
        ended = "killed"
    else:
        assert killed.returncode == 1, killed.stderr
        assert f"silorec resume {run.run_id}" in killed.stderr
        assert "Traceback" not in killed.stderr
        ended = "stopped, by name"
    before = run.history()
    resumed = run.resume()
    assert resumed.returncode == 0, resumed.stderr
    told = run.history()
    assert told.run.status == RunStatus.COMPLETED
    assert outcome_of(told) == undisturbed
    assert (run.output / "reports" / f"{run.run_id}.html").exists()
    assert not list((run.output / "lineage" / "unfinished").iterdir())
    finished = {(row.round_number) for row in before.rounds}
    for number in finished:
        rounds = [one for one in run.trainings() if one[1] == str(number)]
        assert sorted(rounds) == [(silo, str(number)) for silo in NAMES]
    return ended


@pytest.mark.slow
@pytest.mark.parametrize("point", SMOKE)
def test_smoke(chaos, undisturbed, point):
    play(chaos, undisturbed, point, f"smoke-{SMOKE.index(point)}")


@pytest.mark.chaos
@pytest.mark.parametrize("point", [name for name in POINTS if name not in SMOKE])
def test_every_point(chaos, undisturbed, point):
    play(chaos, undisturbed, point, f"point-{list(POINTS).index(point)}")
