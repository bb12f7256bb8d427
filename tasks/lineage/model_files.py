"""Models as safetensors files that are named by their own hash.

`<folder>/models/<sha256>.safetensors` holds named float32 tensors and, in its
header, the metadata and the hash of the vocabulary;
`<folder>/models/<sha256>.vocabulary.json` holds that vocabulary, the item ids in row
order, once for all models that share it. The same tensors and metadata give the same
bytes, hence the same name. Nothing here is executable: no pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from data_contracts.durable_files import Buffer, write_durably
from data_contracts.errors import LineageError
from data_contracts.records import ModelVersionRecord
from tasks.lineage.storage import storage_error

Tensors = Mapping[str, NDArray[np.float32]]

MODELS_FOLDER = "models"
_HEADER_KEY = "silorec"
_VOCABULARY_KEY = "vocabulary_sha256"
_ALIGNMENT = 8  # safetensors pads its header with spaces to a multiple of this


@dataclass(frozen=True)
class ModelFile:
    """A saved model: what a `ModelVersionRecord` says about its file."""

    sha256: str
    path: Path
    size_bytes: int
    parameters: int
    vocabulary_sha256: str


@dataclass(frozen=True)
class LoadedModel:
    """A model read back and verified.

    Attributes:
        tensors: float32, any shapes, all finite.
        metadata: as given to `save_model`.
        vocabulary: item ids in row order.
        sha256: hash of the file.
    """

    tensors: Tensors
    metadata: Mapping[str, str]
    vocabulary: tuple[str, ...]
    sha256: str


def save_model(
    folder: Path,
    tensors: Tensors,
    metadata: Mapping[str, str],
    vocabulary: Sequence[str],
) -> ModelFile:
    """Write the model and its vocabulary; what is already there is left alone.

    Raises:
        LineageError: a tensor is not float32 or not finite, or storage failed.
    """
    for name, tensor in tensors.items():
        if problem := _problem(tensor):
            raise LineageError(
                f"model not saved: tensor {name} {problem}; keep the last good model"
            )
    models = folder / MODELS_FOLDER
    listed, pieces = _contents(tensors, metadata, vocabulary)
    vocabulary_sha256 = hashlib.sha256(listed).hexdigest()
    sha256 = _sha256_of(pieces)
    path = model_path(models, sha256)
    try:
        # The vocabulary first: a model file never lacks its own.
        _write_once(_vocabulary_path(models, vocabulary_sha256), [listed])
        _write_once(path, pieces)
    except OSError as error:
        raise storage_error("save a model", models, error) from None
    parameters = sum(tensor.size for tensor in tensors.values())
    size = sum(memoryview(piece).nbytes for piece in pieces)
    return ModelFile(sha256, path, size, parameters, vocabulary_sha256)


def sha256_of_model(
    tensors: Tensors, metadata: Mapping[str, str], vocabulary: Sequence[str]
) -> str:
    """The name that `save_model` would give the file; writes nothing."""
    _, pieces = _contents(tensors, metadata, vocabulary)
    return _sha256_of(pieces)


def load_model(
    path: Path, *, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> LoadedModel:
    """Read a model and its vocabulary and verify both against their names.

    Args:
        path: `<sha256>.safetensors`, its vocabulary beside it.
        shapes: what the caller is about to put the tensors into, if it knows.

    Raises:
        LineageError: missing, damaged, not float32, not finite or of other shapes.
    """
    content = _read(path, "model")
    if hashlib.sha256(content).hexdigest() != path.stem:
        raise LineageError(
            f"model {path} is not what its name says: the SHA-256 of the file differs "
            "from its name; restore it from a backup or train again"
        )
    tensors, metadata = _decode(path, content)
    _check_tensors(path, tensors, shapes)
    vocabulary = _load_vocabulary(path.parent, metadata.pop(_VOCABULARY_KEY, ""))
    return LoadedModel(tensors, metadata, vocabulary, path.stem)


def model_path(models: Path, sha256: str) -> Path:
    """Where the model with this hash lies in the folder of models."""
    return models / f"{sha256}.safetensors"


def _vocabulary_path(models: Path, sha256: str) -> Path:
    return models / f"{sha256}.vocabulary.json"


def _contents(
    tensors: Tensors, metadata: Mapping[str, str], vocabulary: Sequence[str]
) -> tuple[bytes, list[Buffer]]:
    """(vocabulary file, pieces of the model file)."""
    listed = json.dumps(list(vocabulary), ensure_ascii=False).encode()
    name = hashlib.sha256(listed).hexdigest()
    return listed, _encode(tensors, {**metadata, _VOCABULARY_KEY: name})


def _encode(tensors: Tensors, metadata: Mapping[str, str]) -> list[Buffer]:
    """The bytes of `safetensors.numpy.save`, which would copy every tensor twice."""
    # One header entry: safetensors writes several in random order, and the same
    # model would get another hash each time.
    text = json.dumps(metadata, sort_keys=True)
    header: dict[str, object] = {"__metadata__": {_HEADER_KEY: text}}
    pieces: list[Buffer] = []
    start = 0
    for name in sorted(tensors, key=str.encode):
        tensor = np.ascontiguousarray(tensors[name], "<f4")
        stop = start + tensor.nbytes
        places = {"shape": list(tensors[name].shape), "data_offsets": [start, stop]}
        header[name] = {"dtype": "F32", **places}
        pieces.append(tensor.reshape(-1).data)
        start = stop
    listed = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    listed += b" " * (-len(listed) % _ALIGNMENT)
    return [len(listed).to_bytes(8, "little") + listed, *pieces]


def _sha256_of(pieces: Iterable[Buffer]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _decode(
    path: Path, content: bytes
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    try:
        tensors = load(content)
        header_size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + header_size])
        return tensors, dict(json.loads(header["__metadata__"][_HEADER_KEY]))
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise LineageError(
            f"model {path} is not a safetensors file that silorec wrote; give the "
            "path of a model of a run, as `silorec lineage show` prints it"
        ) from None


def _check_tensors(
    path: Path, tensors: Tensors, shapes: Mapping[str, tuple[int, ...]] | None
) -> None:
    for name, tensor in tensors.items():
        if problem := _problem(tensor):
            raise LineageError(
                f"model {path}: tensor {name} {problem}; use another model"
            )
    for name, shape in (shapes or {}).items():
        found = tensors[name].shape if name in tensors else None
        if found != shape:
            raise LineageError(
                f"model {path} does not fit: tensor {name} must have shape {shape}, "
                f"found {found or 'none of that name'}; use the configuration and "
                "vocabulary that the model was trained with"
            )


def _problem(tensor: NDArray[np.float32]) -> str:
    if tensor.dtype != np.float32:
        return f"is {tensor.dtype}, only float32 is kept"
    # NaN passes through both, and what is infinite is the least or the greatest.
    if tensor.size and not np.isfinite([tensor.min(), tensor.max()]).all():
        return "holds NaN or infinity"
    return ""


def read_vocabulary(version: ModelVersionRecord) -> tuple[str, ...]:
    """Item ids of a recorded model, in row order, without its tensors.

    Raises:
        LineageError: missing or damaged.
    """
    return _load_vocabulary(Path(version.path).parent, version.vocabulary_sha256)


def _load_vocabulary(models: Path, sha256: str) -> tuple[str, ...]:
    path = _vocabulary_path(models, sha256)
    listed = _read(path, "vocabulary")
    if hashlib.sha256(listed).hexdigest() != sha256:
        raise LineageError(
            f"vocabulary {path} is not what its name says: the SHA-256 of the file "
            "differs from its name; restore it from a backup"
        )
    return tuple(json.loads(listed))


def _read(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise LineageError(
            f"there is no {kind} {path}; `silorec lineage runs` shows what is recorded"
        ) from None
    except OSError as error:
        raise storage_error(f"read a {kind}", path, error) from None


def _write_once(path: Path, pieces: Iterable[Buffer]) -> None:
    if not path.exists():
        write_durably(path, *pieces)
