"""Random kills, failures and delays: no lost round, wrong model or double charge."""

from __future__ import annotations

import pytest

from tests.chaos.chaos_runs import ROOT, ChaosRun, Commands
from tests.chaos.disturbances import encoded
from tests.chaos.schedule_figures import PLAYED
from tests.chaos.schedule_runs import (
    Findings,
    broken_chain,
    completed,
    forced,
    lost_rounds,
    miscounted,
    other_models,
    play,
    settings_of,
    trained_otherwise,
)
from tests.chaos.schedules import PRIVACY, SCHEDULES, SILOS, SMOKE, schedule
from tests.simulators.command_line import sandbox
from tests.simulators.synthetic_tables import synthetic_silo


@pytest.fixture(scope="module")
def chaos(prefect_server, tmp_path_factory):
    """Makes runs of six silos that share a machine and a Prefect server."""
    folder = tmp_path_factory.mktemp("tables")
    silos = tuple(
        synthetic_silo(folder, name, users=60, items=40, seed=seed)
        for seed, name in enumerate(SILOS)
    )
    with sandbox(
        PREFECT_API_URL=prefect_server.api,
        PREFECT_LOGGING_LEVEL="CRITICAL",
        PYTHONPATH=str(ROOT),
        OMP_NUM_THREADS="1",
    ) as machine:
        commands = Commands(machine)
        yield lambda name, privacy: ChaosRun(
            machine, commands, silos, name, settings=settings_of(privacy)
        )
        commands.close()
        assert machine.survivors() == []


@pytest.fixture(scope="module")
def undisturbed(chaos):
    """Histories of private runs that nothing disturbed, by mode, made when needed."""
    made = {}

    def of(privacy):
        if privacy not in made:
            run = chaos(f"undisturbed-{privacy}", privacy)
            done = run.train()
            assert done.status == 0, done.said
            made[privacy] = run.history()
        return made[privacy]

    return of


def examine(chaos, undisturbed, run, plan, found: Findings) -> None:
    """Fill in what the records tell of a run."""
    told = run.history()
    lost = lost_rounds(told)
    wrong = trained_otherwise(run, told)
    charges = []
    if not completed(run):
        found.notes.append("the run is not completed")
    elif plan.privacy == "off":
        again = chaos(f"{run.name}-again", plan.privacy)
        done = again.train(encoded(forced(told), again.machine.folder / "forced"))
        assert done.status == 0, done.said
        wrong += other_models(told, again.history())
    else:
        wrong += broken_chain(told, run.output)
        charges = miscounted(run, told, undisturbed(plan.privacy))
    found.lost_rounds, found.wrong_models = len(lost), len(wrong)
    found.double_charges = len(charges)
    found.notes += lost + wrong + charges


def play_and_examine(chaos, undisturbed, seed: int) -> None:
    """One schedule, from its first command to its figures."""
    plan = schedule(seed)
    run = chaos(f"schedule-{seed}", plan.privacy)
    found = PLAYED[seed] = play(run, plan)
    examine(chaos, undisturbed, run, plan, found)
    print(seed, found)
    assert not found.hang, f"{plan} hangs: {found.stretches}"
    assert found.struck, f"nothing of {plan} happened"
    assert not found.notes, f"{plan}: {found.stretches}: {found.notes}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", SMOKE)
def test_smoke(chaos, undisturbed, seed):
    play_and_examine(chaos, undisturbed, seed)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [s for s in range(SCHEDULES) if s not in SMOKE])
def test_every_schedule(chaos, undisturbed, seed):
    play_and_examine(chaos, undisturbed, seed)


def test_schedules_follow_from_their_seeds():
    plans = [schedule(seed) for seed in range(SCHEDULES)]
    assert plans == [schedule(seed) for seed in range(SCHEDULES)]
    assert len({plan.stretches for plan in plans}) == SCHEDULES


def test_half_of_the_schedules_are_private_and_the_smoke_has_every_mode():
    modes = [schedule(seed).privacy for seed in range(SCHEDULES)]
    assert 2 * modes.count("off") == SCHEDULES
    assert {schedule(seed).privacy for seed in SMOKE} == set(PRIVACY)
