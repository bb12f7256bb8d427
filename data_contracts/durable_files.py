"""Files that are there whole or not at all, whatever dies while they are written."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

Buffer = bytes | memoryview


def write_durably(path: Path, *content: Buffer) -> None:
    """Write `content` to `path` such that a crash leaves all of it or no file.

    Temporary file in the same folder, fsync, rename, fsync of the folder.

    Raises:
        OSError: as the operating system says it; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with unfinished.open("xb") as file:
            for piece in content:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's list of files durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
