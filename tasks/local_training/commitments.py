"""Commitments to updates: what the coordinator records instead of an update."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def commit_to(words: NDArray[np.unsignedinteger], folder: Path, round_key: str) -> str:
    """SHA-256 commitment to an update, hidden by a salt that stays in the silo.

    Without the salt, who guesses the training data could train on the guess and
    compare. The silo opens the commitment by showing salt and words.
    """
    salt = secrets.token_bytes(32)
    commitment = hashlib.sha256(b"silorec/update-commitment/1" + salt)
    little_endian = words.astype(words.dtype.newbyteorder("<"), copy=False)
    commitment.update(little_endian.data)
    line = {
        "round": round_key,
        "salt": salt.hex(),
        "commitment": commitment.hexdigest(),
    }
    with (folder / "commitments.jsonl").open("a", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return commitment.hexdigest()
