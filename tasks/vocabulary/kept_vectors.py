"""Vectors of texts on disk, so that no text is read by the same encoder twice.

One safetensors file for each encoder, named by the hash of its folder, with a row for
each text, named by the hash of the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from data_contracts.durable_files import write_durably

Floats = NDArray[np.float32]


def vectors_of(
    texts: Sequence[str],
    encoder: str,
    folder: Path,
    encode: Callable[[Sequence[str]], Floats],
) -> Floats:
    """Vectors [N, H] of N texts; only those that are new are encoded, and kept.

    Args:
        texts: what is wanted, in any order, with repetitions.
        encoder: hash of the encoder's folder.
        folder: where vectors are kept.
        encode: N texts -> vectors [N, H].
    """
    path = folder / f"{encoder}.safetensors"
    known = _read(path)
    names = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    missing = {
        name: text for name, text in zip(names, texts, strict=True) if name not in known
    }
    if missing:
        new = encode(list(missing.values()))
        known |= dict(zip(missing, new, strict=True))
        stacked = {"vectors": np.stack(list(known.values()))}
        write_durably(path, save(stacked, {"texts": json.dumps(list(known))}))
    return np.stack([known[name] for name in names])


def _read(path: Path) -> dict[str, Floats]:
    """Hash of a text -> its vector [H]; none where the file is damaged."""
    try:
        with safe_open(str(path), framework="np") as file:
            names = json.loads(file.metadata()["texts"])
            return dict(zip(names, file.get_tensor("vectors"), strict=True))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return {}
