"""Whether an output folder is whole, and what can be put right without a loss.

Looking changes nothing. A repair deletes nothing either: it completes, restores, or
sets aside (`<folder>/set_aside`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data_contracts.health import Finding, Severity
from tasks.lineage.log_health import log_findings
from tasks.lineage.row_health import read_all, row_findings
from tasks.lineage.run_health import (
    leftover_findings,
    model_findings,
    run_findings,
    unfinished_findings,
)
from tasks.lineage.storage import storage_error


def folder_findings(folder: Path) -> tuple[Finding, ...]:
    """Everything that is not as it should be in an output folder, logs first.

    Raises:
        LineageError: the folder itself cannot be read.
    """
    try:
        return tuple(_findings(folder))
    except OSError as error:
        raise storage_error("look through the output folder", folder, error) from None


def _findings(folder: Path) -> Iterator[Finding]:
    if not (folder / "lineage").is_dir():
        yield Finding(
            check="output-folder",
            where=str(folder),
            sentence=f"no run is on record in {folder}; name the output folder of your "
            "runs, if there should be",
            severity=Severity.NOTE,
        )
        return
    yield from log_findings(folder)
    rows, unreadable = read_all(folder)
    yield from unreadable
    unfinished = tuple(unfinished_findings(folder))
    yield from unfinished
    if not unfinished:
        # An unfinished commit explains rows that are missing and a run without an end.
        yield from row_findings(folder, rows)
        yield from run_findings(folder, rows)
    yield from model_findings(folder, rows)
    yield from leftover_findings(folder)
