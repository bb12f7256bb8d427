"""Repairs delete nothing: what is in the way is moved to `<folder>/set_aside`."""

from __future__ import annotations

import uuid
from pathlib import Path

from data_contracts.durable_files import sync_folder

SET_ASIDE_FOLDER = "set_aside"


def set_aside(folder: Path, path: Path) -> Path:
    """Move a file below the output folder to the same place below `set_aside`.

    Returns:
        Where it is now; a name that is taken there gets a suffix.

    Raises:
        OSError: as the operating system says it.
    """
    place = folder / SET_ASIDE_FOLDER / path.relative_to(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}")
    path.replace(place)
    sync_folder(place.parent)
    sync_folder(path.parent)
    return place
