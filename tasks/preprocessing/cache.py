"""Sequences on the silo's own disk, found again by the hash of all that made them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather

from models.sequences import SequenceData

# Raise whenever the same inputs would give other sequences.
ALGORITHM_VERSION = 1


def cache_key(*parts: object) -> str:
    """SHA-256 of the algorithm's version and everything that decides the result."""
    text = json.dumps([ALGORITHM_VERSION, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_sequences(path: Path) -> SequenceData | None:
    """The cached sequences, or None if there are none that can be read."""
    try:
        users = feather.read_table(path / "users.arrow")
        items = feather.read_table(path / "items.arrow")
    except (OSError, pa.ArrowInvalid):
        return None
    lengths = users["length"].to_numpy()
    return SequenceData(
        items["item"].to_numpy(),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        *(users[name].to_numpy() for name in ("train_end", "validation", "test")),
    )


def write_sequences(path: Path, data: SequenceData) -> None:
    """Write both tables in place of what cannot be read there.

    A half-written cache is never taken for a whole one.
    """
    building = path.with_name(f"{path.name}.{os.getpid()}.part")
    building.mkdir(parents=True, exist_ok=True)
    users = pa.table(
        {
            "length": np.diff(data.offsets),
            "train_end": data.train_end,
            "validation": data.validation,
            "test": data.test,
        }
    )
    feather.write_feather(users, building / "users.arrow")
    feather.write_feather(pa.table({"item": data.items}), building / "items.arrow")
    shutil.rmtree(path, ignore_errors=True)
    building.replace(path)
