"""The commands around a run: preflight before it, replay after it."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.simulators.command_line import sandbox
from tests.simulators.small_federation import NO_COMPARISON, small_tree
from tests.simulators.three_formats import three_formats

pytestmark = pytest.mark.slow


def test_preflight_then_train_then_replay(tmp_path):
    with sandbox() as machine:
        output = machine.folder / "output"
        tree = small_tree(three_formats(tmp_path), output, **NO_COMPARISON)
        (machine.work / "run.yaml").write_text(yaml.safe_dump(tree), "utf-8")

        ready = machine.silorec("preflight", "run.yaml", "--json")
        assert ready.returncode == 0, ready.stderr
        report = json.loads(ready.stdout)
        assert report["passed"]
        assert report["estimate"]["rounds"] == 2
        assert report["estimate"]["total_seconds"] > 0
        assert not (output / "lineage").exists()

        done = machine.silorec("train", "run.yaml")
        assert done.returncode == 0, done.stderr

        again = machine.silorec(
            "replay", "small-", "--round", "2", "--from-start",
            "--output-folder", output, "--json",
        )  # fmt: skip
        assert again.returncode == 0, again.stderr
        found = json.loads(again.stdout)
        assert [one["round_number"] for one in found["rounds"]] == [1, 2]
        assert found["equal"]

        strict = ("--contracts.min-users", "100000")
        refused = machine.silorec("preflight", "run.yaml", *strict)
        assert refused.returncode == 1
        assert "failed" in refused.stdout
        assert refused.stderr.splitlines()[-1].endswith("checks failed: contracts")
        assert machine.survivors() == []
