"""Unfinished commits, runs whose process died, and model files that are not whole."""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from data_contracts.errors import LineageError
from data_contracts.health import Finding, Severity
from data_contracts.records import ModelVersionRecord, RoundRecord, RunRecord, RunStatus
from data_contracts.stopwatch import now_utc
from tasks.lineage.leftovers import (
    model_files,
    unfinished_files,
    vocabulary_files,
    vocabulary_of,
)
from tasks.lineage.model_files import model_path
from tasks.lineage.row_health import Rows
from tasks.lineage.setting_aside import set_aside
from tasks.lineage.store import SURELY_DEAD_SECONDS, TABLES_FOLDER, LineageStore
from tasks.lineage.write_ahead import WriteAheadFolder

RUNS_FOLDER, LOCK = "runs", "lock"
SILENT_HOURS = 24.0
"""A run without a lock file that recorded nothing for so long is taken for dead."""
LEFTOVER_HOURS = 24.0


def unfinished_findings(folder: Path) -> Iterator[Finding]:
    """Commits that some process began and did not complete."""
    for path, commit in WriteAheadFolder(folder / TABLES_FOLDER / "unfinished").files():
        if commit is None:
            yield Finding(
                check="write-ahead",
                where=str(path),
                sentence=f"unfinished commit {path} is damaged or of another version "
                "of silorec, and stops its run; `silorec doctor --repair` sets it "
                "aside, with the records in it",
                repair=partial(_set_aside, folder, path),
            )
        elif _is_old(path):
            yield Finding(
                check="write-ahead",
                where=str(path),
                sentence=f"a process died before it completed commit {path}; `silorec "
                "doctor --repair` completes it",
                repair=partial(_complete, folder, path),
            )


def run_findings(folder: Path, rows: Rows) -> Iterator[Finding]:
    """Runs that are on record as running, though nobody works on them."""
    current: dict[str, RunRecord] = {row.run_id: row for row in rows.get(RunRecord, ())}
    for run in current.values():
        if run.status == RunStatus.RUNNING and _is_dead(folder, run, rows):
            yield Finding(
                check="dead-run",
                where=run.run_id,
                sentence=f"run {run.run_id} in {folder} is on record as running, but "
                "its process is gone; `silorec doctor --repair` records that it "
                "failed, its finished rounds stay as they are",
                repair=partial(_record_death, folder, run),
            )


def model_findings(folder: Path, rows: Rows) -> Iterator[Finding]:
    """Model and vocabulary files that are not what their names say, or not there."""
    files = (*model_files(folder), *vocabulary_files(folder))
    sound = {path for path, sha256 in files if _sha256(path) == sha256}
    for path, _ in files:
        if path not in sound:
            yield Finding(
                check="model-files",
                where=str(path),
                sentence=f"{path} is not what its name says: its SHA-256 differs; "
                "`silorec doctor --repair` sets it aside, so that it can be restored "
                "from a backup or written again",
                repair=partial(_set_aside, folder, path),
            )
    yield from _missing_vocabularies(folder, sound)
    models: tuple[ModelVersionRecord, ...] = rows.get(ModelVersionRecord, ())
    present = {path.name for path, _ in files}
    for sha256 in sorted({row.sha256 for row in models if row.published}):
        path = model_path(folder / "models", sha256)
        if path.name not in present:
            yield Finding(
                check="model-files",
                where=str(path),
                sentence=f"published model {path} is missing; restore it from a backup",
            )


def leftover_findings(folder: Path) -> Iterator[Finding]:
    """One note, if writers that died left temporary files behind."""
    found = unfinished_files(folder, LEFTOVER_HOURS)
    if found:
        yield Finding(
            check="leftovers",
            where=str(folder),
            sentence=f"{len(found)} temporary files of writers that died are in "
            f"{folder}, the first is {found[0]}; `silorec maintain --remove` "
            "removes them",
            severity=Severity.NOTE,
        )


def _missing_vocabularies(folder: Path, sound: set[Path]) -> Iterator[Finding]:
    there = {sha256 for path, sha256 in vocabulary_files(folder) if path in sound}
    needed: dict[str, Path] = {}
    for path, _ in model_files(folder):
        if path in sound:
            needed.setdefault(vocabulary_of(path), path)
    for sha256 in sorted(needed.keys() - there):
        yield Finding(
            check="model-files",
            where=str(needed[sha256]),
            sentence=f"the vocabulary of model {needed[sha256]} is missing or damaged "
            f"({sha256 or 'not named'}.vocabulary.json beside it); restore it from a "
            "backup",
        )


def _is_dead(folder: Path, run: RunRecord, rows: Rows) -> bool:
    lock = _lock(folder, run)
    if lock.exists():
        with _locked(lock) as free:
            return free
    latest = max(
        [run.at, *(r.at for r in rows.get(RoundRecord, ()) if r.run_id == run.run_id)]
    )
    try:
        silent = now_utc() - datetime.fromisoformat(latest)
    except (ValueError, TypeError):
        return False
    return silent.total_seconds() > 3600 * SILENT_HOURS


def _lock(folder: Path, run: RunRecord) -> Path:
    return folder / RUNS_FOLDER / run.run_id / LOCK


@contextmanager
def _locked(lock: Path) -> Iterator[bool]:
    """Hold the lock of a run meanwhile; False if a living process holds it."""
    if not lock.exists():  # Runs of earlier versions have none.
        yield True
        return
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _record_death(folder: Path, run: RunRecord) -> str:
    sequence = run.sequence + 1
    end = replace(
        run,
        sequence=sequence,
        status=RunStatus.FAILED,
        at=now_utc().isoformat(),
        message="its process died; recorded by silorec doctor",
    )
    with _locked(_lock(folder, run)) as free:
        if not free:
            raise LineageError(f"run {run.run_id} goes on just now; leave it alone")
        LineageStore(folder).append(
            [end], run_id=run.run_id, step=f"status-{sequence}", code_hash=run.code_hash
        )
    return f"recorded that run {run.run_id} failed"


def _complete(folder: Path, path: Path) -> str:
    LineageStore(folder).complete_what_died()
    if path.exists():
        raise LineageError(
            f"commit {path} could not be completed; the other findings about the "
            "lineage tables say why"
        )
    return f"completed commit {path.name}"


def _set_aside(folder: Path, path: Path) -> str:
    return f"set {path} aside, as {set_aside(folder, path)}"


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime >= SURELY_DEAD_SECONDS
    except FileNotFoundError:
        return False  # Just completed.


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
