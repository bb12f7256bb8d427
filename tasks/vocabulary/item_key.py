"""The key that silos name their items by: a file in each silo's own folder.

The silos' people hand it to each other without the coordinator. Nothing here is a
step: the key never leaves the silo in a run.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from data_contracts.errors import ConfigError

ITEM_KEY = "item_names.secret"

_KEY = re.compile(r"[0-9a-f]{64}")


def make_item_key(folder: Path, copied_from: Path | None = None) -> bool:
    """Give a silo its key: a fresh one, or the one in another silo's file.

    Returns:
        Whether a key was written; False: the silo has that key already.

    Raises:
        ConfigError: the file holds no key, or the silo has another one.
    """
    path = folder / ITEM_KEY
    present = read_item_key(path) if path.exists() else None
    if copied_from is None:
        key = present or secrets.token_bytes(32)
    else:
        key = read_item_key(copied_from)
    if present == key:
        return False
    if present is not None:
        raise ConfigError(
            f"{path} holds another key, and models of earlier runs name items by it; "
            "move it away first if the silos agreed on a new one"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{key.hex()}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return True


def read_item_key(path: Path) -> bytes:
    """The key in this file, 32 bytes.

    Raises:
        ConfigError: there is none.
    """
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not _KEY.fullmatch(text):
        raise ConfigError(
            f"{path} holds no item key; `silorec silo item-key FOLDER` makes one"
        )
    return bytes.fromhex(text)
