"""Commitments to updates: what the coordinator records instead of an update."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COMMITMENTS = "commitments.jsonl"


def commit_to(words: NDArray[np.unsignedinteger], folder: Path, round_key: str) -> str:
    """SHA-256 commitment to an update, hidden by a salt that stays in the silo.

    Without the salt, who guesses the training data could train on the guess and
    compare. The silo opens the commitment by showing salt and words.
    """
    salt = secrets.token_bytes(32)
    commitment = _commitment(words, salt)
    line = {"round": round_key, "salt": salt.hex(), "commitment": commitment}
    with (folder / COMMITMENTS).open("a", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return commitment


def opens(
    words: NDArray[np.unsignedinteger], folder: Path, round_key: str, commitment: str
) -> bool | None:
    """Whether an earlier commitment was to these very words.

    Args:
        words: an update, encoded.
        folder: the silo's own.
        round_key: of the round that the commitment was made in.
        commitment: as the coordinator has it.

    Returns:
        None, if the silo has not kept the salt.
    """
    for line in _lines(folder):
        if line["round"] == round_key and line["commitment"] == commitment:
            return _commitment(words, bytes.fromhex(line["salt"])) == commitment
    return None


def _commitment(words: NDArray[np.unsignedinteger], salt: bytes) -> str:
    digest = hashlib.sha256(b"silorec/update-commitment/1" + salt)
    little_endian = words.astype(words.dtype.newbyteorder("<"), copy=False)
    digest.update(little_endian.data)
    return digest.hexdigest()


def _lines(folder: Path) -> Iterator[dict[str, str]]:
    path = folder / COMMITMENTS
    if path.exists():
        with path.open(encoding="utf-8") as file:
            # A line may be cut short where a full disk ended a run.
            yield from (json.loads(line) for line in file if line.endswith("}\n"))
