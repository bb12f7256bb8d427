"""The last accepted snapshot's profile, as one JSON file in the silo's own folder.

Drift is measured against it. The file holds item counts and never leaves the silo.
A crash at any instant leaves the old file or the new one, whole.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from data_contracts.errors import SiloError, SiloInputError
from tasks.validation.profile import SnapshotProfile

FILE_NAME = "accepted_snapshot.json"
_PROFILE = TypeAdapter(SnapshotProfile)


def read_accepted(folder: Path) -> SnapshotProfile | None:
    """The last accepted profile; None before the first.

    Raises:
        SiloInputError: the file is there and cannot be used.
    """
    try:
        return _PROFILE.validate_json((folder / FILE_NAME).read_bytes(), strict=True)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise SiloInputError(
            f"{FILE_NAME} in the silo's own folder cannot be read as the profile of "
            "an accepted snapshot; delete that file, and the next snapshot is "
            "accepted as the first, without a check for drift"
        ) from None


def write_accepted(folder: Path, profile: SnapshotProfile) -> None:
    """Replace the accepted profile, durably and at once.

    Raises:
        SiloError: the folder cannot be written to.
    """
    final = folder / FILE_NAME
    draft = final.with_suffix(".draft")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(_PROFILE.dump_json(profile))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(final)
        _sync_folder(folder)
    except OSError as error:
        raise SiloError(
            f"{FILE_NAME} could not be written to the silo's own folder "
            f"({type(error).__name__}); free space or fix its permissions"
        ) from None


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
