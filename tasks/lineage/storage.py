"""One sentence when storage fails."""

from __future__ import annotations

import errno
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
