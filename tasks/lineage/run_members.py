"""Who is in a run: those it began with, however often it is interrupted.

Silos that were missing when the run began may be there when it goes on. They stay out:
what the others made so far, noise included, was made for a sum without them.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from data_contracts.durable_files import write_durably
from data_contracts.errors import ResumeError
from data_contracts.progress import announce
from tasks.lineage.recorded_run import RecordedRun
from tasks.lineage.run_state import recorded_cohort
from tasks.lineage.storage import storage_error

MEMBERS = "members.json"


def silos_of_run(run: RecordedRun, invited: Collection[str]) -> tuple[str, ...]:
    """Those of the invited silos that may be in the run; all of them, if it begins.

    Raises:
        ResumeError: what is on disk of the run is damaged.
    """
    members = recorded_cohort(run.folder) or _noted(run)
    left_out = [silo for silo in invited if members and silo not in members]
    for silo in left_out:
        announce().note(
            f"Silo {silo} was missing when run {run.run_id} began and stays out of it; "
            "it can be in the next run."
        )
    return tuple(silo for silo in invited if silo not in left_out)


def note_silos_of_run(run: RecordedRun, silos: Collection[str]) -> None:
    """Note who is in the run, before any of them trains or releases; once.

    Raises:
        LineageError: the folder cannot be written.
    """
    path = run.folder / MEMBERS
    if path.exists():
        return
    try:
        write_durably(path, json.dumps(sorted(silos)).encode())
    except OSError as error:
        raise storage_error("note the silos of a run", run.folder, error) from None


def _noted(run: RecordedRun) -> tuple[str, ...]:
    path = run.folder / MEMBERS
    if not path.exists():
        return ()
    try:
        return tuple(map(str, json.loads(path.read_text("utf-8"))))
    except (OSError, ValueError, TypeError):
        raise ResumeError(
            f"the list {path} of the silos in the run is damaged; restore it from a "
            "backup, or move it away to go on with all silos that answer"
        ) from None
