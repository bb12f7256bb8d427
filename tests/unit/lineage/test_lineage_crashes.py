"""Real kills and a really full disk."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from data_contracts.errors import LineageError
from data_contracts.records import KEYS, MetricRecord, ParticipantRecord, RoundRecord
from tasks.lineage.model_files import save_model
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import append_round

WRITER = """
import sys
from pathlib import Path
from data_contracts.records import RoundRecord
from tasks.lineage.store import LineageStore
from tests.simulators.recorded_runs import append_round
store = LineageStore(Path(sys.argv[1]))
recorded = len(store.read(RoundRecord))
for number in range(max(recorded, 1), 1000):  # The last one again: may be half there.
    append_round(store, "run1", number)
    print(number, flush=True)
"""


def test_killed_at_any_instant_every_key_is_there_once_and_rounds_are_complete(
    tmp_path: Path,
) -> None:
    recorded = 0
    for lifetime in (0.003, 0.021, 0.047, 0.08, 0.11):
        recorded = max(recorded, _rounds_before_kill(tmp_path, lifetime))
        visible = LineageStore(tmp_path)
        for row in visible.read(RoundRecord):
            found = visible.read(ParticipantRecord, run_id=row.run_id)
            assert sum(p.round_number == row.round_number for p in found) == 2

    store = LineageStore(tmp_path)
    for number in range(1, recorded + 2):
        append_round(store, "run1", number)
    for record, per_round in ((RoundRecord, 1), (ParticipantRecord, 2)):
        found = Counter(map(attrgetter(*KEYS[record]), store.read(record)))
        assert set(found.values()) == {1}
        assert len(found) >= per_round * (recorded + 1)
    metrics = Counter(row.round_number for row in store.read(MetricRecord))
    assert set(metrics) == {row.round_number for row in store.read(RoundRecord)}
    assert set(metrics.values()) == {3}


def _rounds_before_kill(folder: Path, lifetime: float) -> int:
    """Let a writer go on from what is there for a while, then SIGKILL it."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert writer.stdout is not None
    first = writer.stdout.readline()
    time.sleep(lifetime)
    writer.kill()
    return int((first + writer.stdout.read()).split()[-1])


def test_a_full_disk_is_one_sentence_and_nothing_is_half_recorded(
    tiny_disk: Path,
) -> None:
    append_round(LineageStore(tiny_disk), "run1", 1)
    ballast = tiny_disk / "ballast"
    # Leave so little that some tables fit and the others do not.
    ballast.write_bytes(bytes(shutil.disk_usage(tiny_disk).free - 5 * 4096))

    store = LineageStore(tiny_disk)
    with pytest.raises(LineageError, match="no space is left there") as caught:
        append_round(store, "run1", 2)
    assert str(tiny_disk / "lineage") in caught.value.message
    assert [row.round_number for row in store.read(RoundRecord)] == [1]

    ballast.unlink()
    append_round(store, "run1", 2)
    assert [row.round_number for row in store.read(RoundRecord)] == [1, 2]
    keys = Counter(map(attrgetter(*KEYS[MetricRecord]), store.read(MetricRecord)))
    assert set(keys.values()) == {1}
    assert len(keys) == 6


def test_a_model_that_does_not_fit_the_disk_leaves_no_file(tiny_disk: Path) -> None:
    with pytest.raises(LineageError, match="no space is left there"):
        save_model(tiny_disk, {"w": np.ones(200_000, np.float32)}, {}, ["a"])
    (vocabulary,) = (tiny_disk / "models").iterdir()
    assert vocabulary.name.endswith(".vocabulary.json")
