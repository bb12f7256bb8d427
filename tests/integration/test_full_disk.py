"""The disk of the lineage tables runs full in the middle of a run."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from data_contracts.records import RoundRecord, RunStatus
from flows.cli import main
from tasks.lineage import store as store_module
from tasks.lineage.ancestry import which_made
from tasks.lineage.queries import runs
from tasks.lineage.store import LineageStore
from tasks.reporting import terminal
from tests.simulators.recorded_runs import append_run
from tests.simulators.small_federation import NO_COMPARISON, Notebook, small_tree

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_session", "prefect_session"),
]

BALLAST = "ballast"


class FillTheDisk(Notebook):
    """Leaves no byte free on `folder` once the first round is over."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def round(self, number: int, of: int, headline: str) -> None:
        with (self.folder / BALLAST).open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MiB; the silos' own folders lie on another."""
    disk, elsewhere = tmp_path / "disk", tmp_path / "silos"
    disk.mkdir()
    elsewhere.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk cannot be mounted: it takes root and mount(8)")
    (disk / "silos").symlink_to(elsewhere)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_ends_the_run_in_one_sentence_and_loses_no_record(
    small_disk, silos, tmp_path, monkeypatch, capsys
):
    append_run(LineageStore(small_disk), "an-earlier-run")
    filler = FillTheDisk(small_disk)
    monkeypatch.setattr(terminal, "terminal_progress", lambda: nullcontext(filler))
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(small_tree(silos, small_disk, **NO_COMPARISON)))

    status = main(["train", str(path)])

    assert status == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("silorec: cannot write")
    assert told.endswith("no space is left there; free some and run again")
    assert "\n" not in told

    (small_disk / BALLAST).unlink()
    monkeypatch.setattr(store_module, "SURELY_DEAD_SECONDS", 0.0)
    store = LineageStore(small_disk)
    run, earlier = runs(store)
    assert (earlier.run_id, earlier.status) == ("an-earlier-run", RunStatus.COMPLETED)
    # Whether its end still found space depends on the last bytes of the disk.
    assert run.status in {RunStatus.RUNNING, RunStatus.FAILED}
    (first,) = store.read(RoundRecord, run_id=run.run_id)
    assert which_made(store, run.run_id).model.sha256 == first.model_sha256
