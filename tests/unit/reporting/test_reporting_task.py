"""The Prefect edge: where the report goes, and how often progress moves."""

from pathlib import Path
from uuid import uuid4

import pytest

from tasks.reporting import task
from tests.simulators.fake_history import RUN_ID, fake_history


def test_report_lies_below_the_output_folder_under_the_name_of_its_run(tmp_path):
    written = task.write_run_report.fn(fake_history(rounds=1), str(tmp_path))
    assert Path(written) == tmp_path / "reports" / f"{RUN_ID}.html"
    assert Path(written).is_file()


@pytest.mark.parametrize(
    ("moves", "sent"),
    [
        ([(0.0, 0.1), (1.0, 0.2), (2.5, 0.3)], [10.0, 30.0]),
        ([(0.0, 0.1), (0.1, 1.0)], [10.0, 100.0]),
    ],
    ids=["at most every two seconds", "the end is always shown"],
)
def test_progress_moves_at_a_pace_the_server_can_bear(monkeypatch, moves, sent):
    seen = []
    monkeypatch.setattr(
        task, "update_progress_artifact", lambda _, percent: seen.append(percent)
    )
    artifact = uuid4()
    for moment, fraction in moves:
        monkeypatch.setattr(task.time, "monotonic", lambda now=moment: now)
        task.update_progress(artifact, fraction)
    assert seen == pytest.approx(sent)
