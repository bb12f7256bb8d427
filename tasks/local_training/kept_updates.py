"""What a silo made for the sums of its last rounds, on its own disk.

A round that a crash interrupts is finished with the very update that was made for it:
no silo trains it twice, and another attempt at its sum has the same inputs, also where
training is not reproducible. So is what the next round takes over from this one: the
error of rounding, and the silo's control variate. Nothing here leaves the silo.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from data_contracts.durable_files import write_durably
from data_contracts.round_outcome import TrainingReceipt
from models.fixed_point import Words
from models.parameters import Vector

ROUNDS = "rounds"
KEPT_ROUNDS = 2
"""This round's, and the last one's, whose rounding errors this round makes good."""

_HEADER = "silorec"


@dataclass(frozen=True)
class KeptUpdate:
    """The contribution to one round.

    Attributes:
        key: hash of everything that it was made from.
        words: as they go into the sum, [d'].
        error: what rounding took from them, float32 [d']; None in the ring of 32 bits.
        receipt: what the coordinator was told.
        variate: float32 [d], the silo's control variate after the round; None: the
            run has none.
    """

    key: str
    words: Words
    error: NDArray[np.float32] | None
    receipt: TrainingReceipt
    variate: Vector | None = None


def keep_update(
    folder: Path, run_id: str, round_number: int, update: KeptUpdate
) -> None:
    """Put the update in the place of whatever was kept of the round before.

    Whole or not at all for a killed process. Synced only with a control variate: what
    else a power cut takes is made again.
    """
    place = folder / ROUNDS / run_id
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _path(folder, run_id, round_number)
    if update.variate is not None:
        write_durably(path, _encoded(update))
    else:
        draft = path.with_suffix(f".{os.getpid()}.part")
        draft.write_bytes(_encoded(update))
        draft.replace(path)
    for old in _rounds_of(place)[:-KEPT_ROUNDS]:
        old.unlink()


def kept_update(folder: Path, run_id: str, round_number: int) -> KeptUpdate | None:
    """The update of this round; None, if there is none that can be read."""
    try:
        return _decoded(_path(folder, run_id, round_number).read_bytes())
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def last_update(folder: Path, run_id: str, round_number: int) -> KeptUpdate | None:
    """The last update before this round; None, if there is none that can be read."""
    for path in reversed(_rounds_of(folder / ROUNDS / run_id)):
        if int(path.stem) < round_number:
            return kept_update(folder, run_id, int(path.stem))
    return None


def last_kept_round(folder: Path, run_id: str) -> int:
    """The latest round that an update was kept of; 0 if there is none."""
    return max((int(p.stem) for p in _rounds_of(folder / ROUNDS / run_id)), default=0)


def forget_updates(folder: Path, run_id: str) -> None:
    """Delete what is kept of a run that has ended."""
    shutil.rmtree(folder / ROUNDS / run_id, ignore_errors=True)


def _rounds_of(place: Path) -> list[Path]:
    return sorted(place.glob("*.safetensors"))


def _path(folder: Path, run_id: str, round_number: int) -> Path:
    return folder / ROUNDS / run_id / f"{round_number:06d}.safetensors"


def _encoded(update: KeptUpdate) -> bytes:
    tensors: dict[str, NDArray[Any]] = {"words": update.words}
    beside = {"error": update.error, "variate": update.variate}
    tensors |= {name: array for name, array in beside.items() if array is not None}
    told = {
        "key": update.key,
        "sha256": _digest(tensors),
        "receipt": asdict(update.receipt),
    }
    return bytes(save(tensors, metadata={_HEADER: json.dumps(told)}))


def _decoded(content: bytes) -> KeptUpdate:
    tensors = load(content)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    told = json.loads(header["__metadata__"][_HEADER])
    if told["sha256"] != _digest(tensors):
        raise ValueError("the file is damaged")
    return KeptUpdate(
        told["key"],
        tensors["words"],
        tensors.get("error"),
        TrainingReceipt(**told["receipt"]),
        tensors.get("variate"),
    )


def _digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in ("words", "error", "variate"):
        if name in tensors:
            digest.update(tensors[name].tobytes())
    return digest.hexdigest()
