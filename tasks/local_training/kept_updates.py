"""What a silo made for the sums of its last rounds, on its own disk.

A round that a crash interrupts is finished with the very update that was made for it:
no silo trains it twice, and another attempt at its sum has the same inputs, also where
training is not reproducible. Nothing here leaves the silo.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from data_contracts.round_outcome import TrainingReceipt
from models.fixed_point import Words

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
    """

    key: str
    words: Words
    error: NDArray[np.float32] | None
    receipt: TrainingReceipt


def keep_update(
    folder: Path, run_id: str, round_number: int, update: KeptUpdate
) -> None:
    """Put the update in the place of whatever was kept of the round before.

    Whole or not at all for a killed process. Not synced: what a power cut takes is
    made again.
    """
    place = folder / ROUNDS / run_id
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _path(folder, run_id, round_number)
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


def last_error(
    folder: Path, run_id: str, round_number: int
) -> NDArray[np.float32] | None:
    """What rounding took from the last update before this round."""
    for path in reversed(_rounds_of(folder / ROUNDS / run_id)):
        if int(path.stem) < round_number:
            kept = kept_update(folder, run_id, int(path.stem))
            return kept.error if kept else None
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
    if update.error is not None:
        tensors["error"] = update.error
    told = {
        "key": update.key,
        "sha256": _digest(update.words, update.error),
        "receipt": asdict(update.receipt),
    }
    return bytes(save(tensors, metadata={_HEADER: json.dumps(told)}))


def _decoded(content: bytes) -> KeptUpdate:
    tensors = load(content)
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    told = json.loads(header["__metadata__"][_HEADER])
    words, error = tensors["words"], tensors.get("error")
    if told["sha256"] != _digest(words, error):
        raise ValueError("the file is damaged")
    return KeptUpdate(told["key"], words, error, TrainingReceipt(**told["receipt"]))


def _digest(words: Words, error: NDArray[np.float32] | None) -> str:
    digest = hashlib.sha256(words.tobytes())
    if error is not None:
        digest.update(error.tobytes())
    return digest.hexdigest()
