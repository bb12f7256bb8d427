"""Files that are there whole or not at all, and one sentence when storage fails."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

from data_contracts.errors import LineageError

_REMEDIES: tuple[tuple[tuple[int, ...], str], ...] = (
    (
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "no space is left there; free some and run again",
    ),
    (
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "permission denied; make the folder writable for this user",
    ),
    (
        (errno.ENOTDIR, errno.EEXIST, errno.EISDIR),
        "a file lies where a folder is needed; choose another output folder",
    ),
)


def storage_error(doing: str, where: Path, error: Exception) -> LineageError:
    """The sentence for a failed read or write.

    The text of the failure itself is left out: libraries quote rows in theirs.

    Args:
        doing: what could not be done, for example `write lineage table rounds`.
        where: the file or folder concerned.
        error: what the library raised; only its kind of trouble is used.
    """
    for codes, remedy in _REMEDIES:
        if any(_is(code, error) for code in codes):
            return LineageError(f"cannot {doing} in {where}: {remedy}")
    return LineageError(
        f"cannot {doing} in {where}: its files are damaged, missing or held by "
        f"another process ({type(error).__name__}); `silorec doctor` says which and "
        "repairs what it can, otherwise restore the folder from a backup or choose "
        "another output folder"
    )


def _is(code: int, error: Exception) -> bool:
    # Delta errors carry the operating system's code only in their text.
    return getattr(error, "errno", None) == code or f"(os error {code})" in str(error)


def write_durably(path: Path, content: bytes) -> None:
    """Write `content` to `path` such that a crash leaves all of it or no file.

    Temporary file in the same folder, fsync, rename, fsync of the folder.

    Raises:
        OSError: as the operating system says it; no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with unfinished.open("xb") as file:
            file.write(content)
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
