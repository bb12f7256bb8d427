"""Disks, files, clocks, servers: the right model, or a clean stop before it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest

from data_contracts.records import RunStatus
from tests.chaos.chaos_runs import ROOT, ChaosRun, Commands, Ended, outcome_of
from tests.chaos.faults import FAULTS
from tests.chaos.matrix import FAULTS_PLAYED, End
from tests.simulators.command_line import sandbox
from tests.simulators.prefect_server import started_server
from tests.simulators.synthetic_tables import small_silos

NAMES = ("north", "south", "west")
SMOKE = [name for name, fault in FAULTS.items() if fault.smoke]


@pytest.fixture(scope="module")
def silos(tmp_path_factory):
    return small_silos(tmp_path_factory.mktemp("tables"), NAMES)


@pytest.fixture(scope="module")
def chaos(silos, prefect_server):
    """Makes runs; those whose server is killed get one of their own."""
    with ExitStack() as stack:

        def machine_at(api: str) -> tuple[object, Commands]:
            machine = stack.enter_context(
                sandbox(
                    PREFECT_API_URL=api,
                    PREFECT_LOGGING_LEVEL="CRITICAL",
                    PREFECT_CLIENT_MAX_RETRIES="1",
                    PYTHONPATH=str(ROOT),
                    OMP_NUM_THREADS="1",
                )
            )
            commands = Commands(machine)
            stack.callback(commands.close)
            return machine, commands

        shared = machine_at(prefect_server.api)

        def made(number: str, in_process: bool, api: str = "") -> ChaosRun:
            machine, commands = machine_at(api) if api else shared
            return ChaosRun(machine, commands, silos, number, in_process)

        yield made


@pytest.fixture(scope="module")
def undisturbed(chaos):
    run = chaos("undisturbed", True)
    done = run.train()
    assert done.status == 0, done.said
    return outcome_of(run.history())


def is_clean(ended: Ended) -> bool:
    """One sentence and no traceback, or the sudden death of the whole process."""
    by_itself = ended.status in {1, 2} and "silorec: " in ended.said
    return "Traceback" not in ended.said and (by_itself or died(ended))


def died(ended: Ended) -> bool:
    """Killed; Ray ends the process that started it when its head is gone."""
    return ended.status < 0 or (ended.status == 1 and "silorec: " not in ended.said)


def play(chaos, undisturbed, name: str) -> None:
    """Let it strike, resume, mend if need be, compare."""
    fault = FAULTS[name]
    FAULTS_PLAYED[name] = End("failed", "failed", identical=False)
    number = f"fault-{list(FAULTS).index(name)}"
    with ExitStack() as stack:
        server = api = None
        if "Prefect" in name:
            own = stack.enter_context(started_server())
            server, api = own.process, own.api
        run = chaos(number, not fault.with_actors, api or "")
        order: dict[str, object] = {"fault": name}
        if server:
            order["server"] = server
        first = run.train(sections=fault.sections, **order)
        at_once = "ends"
        resumed = "not needed"
        if first.status:
            assert is_clean(first), first
            at_once = "killed" if died(first) else "stops with a sentence"
    if first.status:
        fault.between(run.output)
        # The server that was killed stays dead: another one takes its place.
        again = replace(run, commands=chaos(number, True).commands) if server else run
        last = again.resume(resuming=name)
        resumed = "completed"
        if last.status:
            assert is_clean(last), last.said
            fault.mended(run.output)
            last = again.resume()
            resumed = "names it; completed once it is mended"
        assert last.status == 0, last.said
    told = run.history()
    assert told.run.status == RunStatus.COMPLETED
    same = outcome_of(told) == undisturbed
    FAULTS_PLAYED[name] = End(at_once, resumed, identical=same)
    assert outcome_of(told) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("fault", SMOKE)
def test_smoke(chaos, undisturbed, fault):
    play(chaos, undisturbed, fault)


@pytest.mark.chaos
@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in SMOKE])
def test_every_fault(chaos, undisturbed, fault):
    play(chaos, undisturbed, fault)
