"""Files below the output folder that nothing needs: unfinished, or on no record."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_contracts.records import ModelVersionRecord
from tasks.lineage.model_files import MODELS_FOLDER
from tasks.lineage.setting_aside import SET_ASIDE_FOLDER

SILOS_FOLDER = "silos"
_UNFINISHED = re.compile(
    r"\..+\.[0-9a-f]{32}"  # `write_durably`
    r"|.+\.(?:parquet|json)#\d+"  # Delta, before it gives a file its name
    r"|_commit_.+\.json\.tmp"  # older Delta
)
_MODEL = re.compile(r"([0-9a-f]{64})\.safetensors")
_VOCABULARY = re.compile(r"([0-9a-f]{64})\.vocabulary\.json")


def unfinished_files(folder: Path, older_than_hours: float) -> tuple[Path, ...]:
    """Temporary files of writers that died, silos' own folders left alone."""
    elsewhere = {SILOS_FOLDER, SET_ASIDE_FOLDER}
    return tuple(
        path
        for place in _folders(folder)
        if place.name not in elsewhere
        for path in sorted(place.rglob("*"))
        if _UNFINISHED.fullmatch(path.name) and _is_old(path, older_than_hours)
    )


def unnamed_models(
    folder: Path, models: Iterable[ModelVersionRecord], older_than_hours: float
) -> tuple[Path, ...]:
    """Model files that no row names, as a model or as its parent, and vocabularies.

    A vocabulary is needed by the rows that name it and by every model file that stays.

    Args:
        folder: output folder.
        models: all rows, those of unfinished commits as well.
        older_than_hours: younger files stay; a run may be about to record them.
    """
    rows = tuple(models)
    named = {row.sha256 for row in rows} | {row.parent_sha256 for row in rows}
    needed = {row.vocabulary_sha256 for row in rows}
    unnamed = []
    for path, sha256 in _matching(folder, _MODEL):
        if sha256 not in named and _is_old(path, older_than_hours):
            unnamed.append(path)
        else:
            needed.add(vocabulary_of(path))
    spare = [
        path
        for path, sha256 in _matching(folder, _VOCABULARY)
        if sha256 not in needed and _is_old(path, older_than_hours)
    ]
    return (*unnamed, *spare)


def model_files(folder: Path) -> tuple[tuple[Path, str], ...]:
    """Every model file, and the hash that its name claims."""
    return tuple(_matching(folder, _MODEL))


def vocabulary_files(folder: Path) -> tuple[tuple[Path, str], ...]:
    """Every vocabulary file, and the hash that its name claims."""
    return tuple(_matching(folder, _VOCABULARY))


def vocabulary_of(path: Path) -> str:
    """Hash of the vocabulary that a model file names; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, 2**24)))
        return str(json.loads(header["__metadata__"]["silorec"])["vocabulary_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _matching(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Path, str]]:
    models = folder / MODELS_FOLDER
    for path in sorted(models.iterdir()) if models.is_dir() else ():
        if found := pattern.fullmatch(path.name):
            yield path, found[1]


def _is_old(path: Path, hours: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime >= 3600 * hours
    except FileNotFoundError:  # Its writer has just finished.
        return False
