"""Ctrl-C in the middle of training: a record, an exit status, and nothing left over."""

from __future__ import annotations

import pytest
import yaml

from data_contracts.records import RunStatus
from tasks.lineage.queries import runs
from tasks.lineage.store import LineageStore
from tests.simulators.command_line import interrupt, sandbox
from tests.simulators.small_federation import small_tree
from tests.simulators.three_formats import three_formats

pytestmark = pytest.mark.slow


def test_an_interrupted_run_is_recorded_as_failed_and_leaves_no_process(tmp_path):
    with sandbox() as machine:
        output = machine.folder / "output"
        tree = small_tree(
            three_formats(tmp_path), output, local_training={"epochs": 1000}
        )
        (machine.work / "run.yaml").write_text(yaml.safe_dump(tree), "utf-8")
        with machine.start("train", "run.yaml") as process:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("Round 1: training"):
                    break
            interrupt(process)
            _, rest = process.communicate(timeout=120)

        assert process.returncode == 130
        assert rest.splitlines()[-1] == "silorec: interrupted"
        assert "Traceback" not in rest
        (run,) = runs(LineageStore(output))
        assert (run.status, run.message) == (
            RunStatus.FAILED,
            "stopped by KeyboardInterrupt",
        )
        assert machine.survivors() == []
