"""SIGKILL at every point, `silorec resume`, and the undisturbed run's very bytes."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from data_contracts.records import RunStatus
from tests.chaos.chaos_runs import ROOT, SETTINGS, ChaosRun, Commands, outcome_of
from tests.chaos.kill_points import POINTS, SMOKE, SiloKill
from tests.chaos.matrix import PLAYED, End
from tests.simulators.command_line import sandbox
from tests.simulators.synthetic_tables import synthetic_silo

NAMES = ("north", "south", "west")
# Silos remember, too: their control variates must come back.
WITH_MEMORIES = SETTINGS | {
    "local_training": SETTINGS["local_training"] | {"drift_correction": "scaffold"}
}


@pytest.fixture(scope="module")
def chaos(prefect_server, tmp_path_factory):
    """Makes runs that share a machine and a Prefect server."""
    folder = tmp_path_factory.mktemp("tables")
    silos = tuple(
        synthetic_silo(folder, name, users=60, items=40, seed=seed)
        for seed, name in enumerate(NAMES)
    )
    with sandbox(
        PREFECT_API_URL=prefect_server.api,
        PREFECT_LOGGING_LEVEL="CRITICAL",
        PYTHONPATH=str(ROOT),
        OMP_NUM_THREADS="1",
    ) as machine:
        commands = Commands(machine)
        yield lambda name, in_process: ChaosRun(
            machine, commands, silos, name, in_process, WITH_MEMORIES
        )
        commands.close()
        assert machine.survivors() == []


@pytest.fixture(scope="module")
def undisturbed(chaos):
    run = chaos("undisturbed", True)
    done = run.train()
    assert done.status == 0, done.said
    return outcome_of(run.history())


def play(chaos, undisturbed, name: str) -> None:
    """Kill, resume, compare."""
    point = POINTS[name]
    by_ray = isinstance(point, SiloKill) or point.with_actors
    run = chaos(f"point-{list(POINTS).index(name)}", not by_ray)
    PLAYED[name] = End("failed", "failed", identical=False)
    killed = run.train(name)
    before = run.history()
    if isinstance(point, SiloKill):
        assert killed.status == 0, killed.said
        end = End("starts the silo again, and ends", "not needed", identical=False)
    else:
        assert killed.status == -signal.SIGKILL, killed.said
        resumed = run.resume()
        assert resumed.status == 0, resumed.said
        published = before.run.status == RunStatus.COMPLETED
        end = End("killed", "wrote the report" if published else "completed", False)
    told = run.history()
    assert told.run.status == RunStatus.COMPLETED
    PLAYED[name] = replace(end, identical=outcome_of(told) == undisturbed)
    assert outcome_of(told) == undisturbed
    assert (run.output / "reports" / f"{run.run_id}.html").exists()
    assert not list((run.output / "lineage" / "unfinished").iterdir())
    trainings = run.trainings()
    for number in {str(row.round_number) for row in before.rounds}:
        once = [(silo, number) for silo in NAMES]
        assert [one for one in trainings if one[1] == number] == once


@pytest.mark.slow
@pytest.mark.parametrize("point", SMOKE)
def test_smoke(chaos, undisturbed, point):
    play(chaos, undisturbed, point)


@pytest.mark.chaos
@pytest.mark.parametrize("point", [name for name in POINTS if name not in SMOKE])
def test_every_point(chaos, undisturbed, point):
    play(chaos, undisturbed, point)
