"""SIGTERM and Ctrl-C stop a run cleanly, and it goes on later."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import yaml

from data_contracts.records import RunStatus
from tasks.lineage.queries import history, runs
from tasks.lineage.store import LineageStore
from tests.simulators.command_line import interrupt, sandbox
from tests.simulators.small_federation import NO_COMPARISON, small_tree

pytestmark = pytest.mark.slow

ROOT = str(Path(__file__).parents[2])
SIGNALS = {
    "SIGTERM": (lambda process: process.terminate(), -signal.SIGTERM),
    "Ctrl-C": (interrupt, 130),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_stopped_run_leaves_no_process_and_goes_on(name, own_tables, prefect_server):
    stop, status = SIGNALS[name]
    with sandbox(PREFECT_API_URL=prefect_server.api, PYTHONPATH=ROOT) as machine:
        output = machine.folder / "output"
        tree = small_tree(own_tables, output, schedule={"rounds": 2}, **NO_COMPARISON)
        (machine.work / "run.yaml").write_text(yaml.safe_dump(tree), "utf-8")
        with machine.start("train", "run.yaml") as process:
            for line in process.stderr:
                if line.startswith("Round 2: training"):
                    break
            stop(process)
            _, rest = process.communicate(timeout=120)
        assert process.returncode == status, rest
        assert "Traceback" not in rest
        (run,) = runs(LineageStore(output))
        assert run.status == RunStatus.FAILED
        assert f"silorec resume {run.run_id}" in rest
        assert machine.survivors() == []
        (flow_run,) = prefect_server.ask(
            "flow_runs/filter", flow_runs={"id": {"any_": [run.flow_run_id]}}
        )
        assert flow_run["state_type"] in {"CRASHED", "FAILED", "CANCELLED"}

        resumed = machine.silorec("resume", run.run_id, "--output-folder", output)
        assert resumed.returncode == 0, resumed.stderr
        told = history(LineageStore(output), run.run_id)
        assert told.run.status == RunStatus.COMPLETED
        assert [row.round_number for row in told.rounds] == [1, 2]
