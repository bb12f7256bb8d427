"""Short commands end with code 0 every time: no thread of Arrow outlives Python."""

import subprocess
import sys

import pytest

from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import append_run

pytestmark = pytest.mark.slow

READ = """
import sys
from pathlib import Path
from data_contracts.records import KEYS
from tasks.lineage.store import LineageStore
store = LineageStore(Path(sys.argv[1]))
print(sum(len(store.read(record)) for record in KEYS))
"""


def test_whoever_reads_the_lineage_and_ends_at_once_ends_well(tmp_path):
    append_run(LineageStore(tmp_path), "a-run")
    command = [sys.executable, "-c", READ, str(tmp_path)]
    ended = [
        subprocess.run(command, capture_output=True, text=True, check=False)
        for _ in range(12)
    ]
    assert {(done.returncode, done.stderr) for done in ended} == {(0, "")}
    assert len({done.stdout for done in ended}) == 1
