"""A silo's own part of a run's model, on its own disk, one file for each round.

What `model.personal` names is trained by each silo for itself. Nobody else has it, so
it is written durably before the round's update leaves: a run that goes on elsewhere
finds the part that belongs to the round it goes on from. Nothing here leaves the silo.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from data_contracts.durable_files import write_durably
from data_contracts.errors import SiloError

PERSONAL = "personal"
KEPT_PARTS = 3
"""The last ones, beside those that the accepted and the best model need."""

_HEADER = "silorec"

Tensors = Mapping[str, NDArray[np.float32]]


def keep_part(
    folder: Path, run_id: str, round_number: int, tensors: Tensors, key: str
) -> None:
    """Keep what the silo trained for itself in a round; whole or not at all.

    Args:
        folder: the silo's own.
        run_id: the run.
        round_number: from 1.
        tensors: by name.
        key: hash of everything that it was made from.
    """
    told = {"key": key, "sha256": _digest(tensors)}
    content = bytes(save(dict(tensors), metadata={_HEADER: json.dumps(told)}))
    place = folder / PERSONAL / run_id
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(_path(folder, run_id, round_number), content)


def key_of_part(folder: Path, run_id: str, round_number: int) -> str:
    """What the part of this round was made from; empty if none can be read."""
    try:
        return _read(_path(folder, run_id, round_number))[1]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return ""


def part_up_to(folder: Path, run_id: str, round_number: int) -> Tensors | None:
    """The part of this round, or of the last one before it that the silo trained.

    Returns:
        None, if the silo trained in none of them.

    Raises:
        SiloError: the file is damaged.
    """
    files = _files(folder, run_id, round_number)
    if not files:
        return None
    try:
        return _read(files[-1])[0]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        raise SiloError(
            f"the silo's own part {PERSONAL}/{run_id}/{files[-1].name} of the model is "
            "damaged; restore it from a backup of the silo's folder, or start a new run"
        ) from None


def drop_parts(
    folder: Path, run_id: str, *, needed: tuple[int, ...], newest: int = KEPT_PARTS
) -> None:
    """Delete the parts that nothing needs any more.

    Args:
        folder: the silo's own.
        run_id: the run.
        needed: rounds whose models are still in use.
        newest: so many of the last parts stay in any case.
    """
    files = _files(folder, run_id)
    kept = set(files[max(0, len(files) - newest) :])
    for round_number in needed:
        kept |= set(_files(folder, run_id, round_number)[-1:])
    for path in set(files) - kept:
        path.unlink()
    if not kept:
        shutil.rmtree(folder / PERSONAL / run_id, ignore_errors=True)


def _files(folder: Path, run_id: str, up_to: int | None = None) -> list[Path]:
    files = sorted((folder / PERSONAL / run_id).glob("[0-9]*.safetensors"))
    return [path for path in files if up_to is None or int(path.stem) <= up_to]


def _path(folder: Path, run_id: str, round_number: int) -> Path:
    return folder / PERSONAL / run_id / f"{round_number:06d}.safetensors"


def _read(path: Path) -> tuple[Tensors, str]:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    told = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][_HEADER])
    tensors = load(content)
    if told["sha256"] != _digest(tensors):
        raise ValueError("the file is damaged")
    return tensors, str(told["key"])


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(json.dumps([name, tensors[name].shape]).encode())
        digest.update(np.ascontiguousarray(tensors[name], "<f4").data)
    return digest.hexdigest()
