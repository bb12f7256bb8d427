"""Merging the small files of a table, by one process at a time.

Delta lets two merges that began from the same version both commit (deltalake 1.6.6,
tried): each takes the same small files away and adds a large one, so every row of them
is in the table twice. A lock that the operating system takes back from whoever dies
keeps them apart; appends need none.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError

NO_HOUSEKEEPING = PostCommitHookProperties(
    create_checkpoint=False, cleanup_expired_logs=False
)
"""After each commit Delta would look through the whole log for what is too old: after
1,000 rounds that took as long as the commit. Merging makes the checkpoints, and
maintenance takes old entries away."""

LOCK = "_merging.lock"
"""In the folder of the table; a name that begins so is none of Delta's data files."""


def merge_small_files(handle: DeltaTable, table: Path) -> bool:
    """Merge what is small, and make a checkpoint; changes no row.

    Args:
        handle: the table; shows it as it stands afterwards.
        table: its folder.

    Returns:
        False if another process is merging just now, and nothing was done.

    Raises:
        DeltaError: the table cannot be read or written.
        OSError: the lock cannot be made.
    """
    with table_lock(table) as alone:
        if not alone:
            return False
        handle.update_incremental()
        try:
            if len(handle.file_uris()) > 1:
                handle.optimize.compact(post_commithook_properties=NO_HOUSEKEEPING)
            handle.create_checkpoint()
        except CommitFailedError:
            return False  # Of another version of silorec, which knows no lock.
    return True


@contextmanager
def table_lock(table: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the table's lock meanwhile; False if another process holds it.

    Args:
        table: folder of the table.
        wait: for whoever holds it, instead of going on without.
    """
    with (table / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
