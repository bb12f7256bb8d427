import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save, save_file

from data_contracts.errors import LineageError
from tasks.lineage.model_files import ModelFile, load_model, save_model

TENSORS = {
    "items": np.arange(6, dtype=np.float32).reshape(3, 2),
    "bias": np.array([0.5], np.float32),
}
METADATA = {"config": '{"width": 2}', "task": "next item"}
VOCABULARY = ["i1", "i2", "café"]


@pytest.fixture
def saved(tmp_path: Path) -> ModelFile:
    return save_model(tmp_path, TENSORS, METADATA, VOCABULARY)


def test_a_model_comes_back_as_it_was_saved(saved: ModelFile) -> None:
    model = load_model(saved.path)
    assert {name: tensor.tolist() for name, tensor in model.tensors.items()} == {
        "items": [[0, 1], [2, 3], [4, 5]],
        "bias": [0.5],
    }
    assert model.metadata == METADATA
    assert model.vocabulary == tuple(VOCABULARY)
    assert model.sha256 == saved.sha256


def test_the_file_says_what_was_saved(saved: ModelFile, tmp_path: Path) -> None:
    assert saved.path == tmp_path / "models" / f"{saved.sha256}.safetensors"
    assert saved.size_bytes == saved.path.stat().st_size
    assert saved.parameters == 7


def test_the_same_model_has_the_same_hash_in_every_order(tmp_path: Path) -> None:
    hashes = {
        save_model(
            tmp_path / str(number),
            dict(sorted(TENSORS.items(), reverse=bool(number % 2))),
            dict(sorted(METADATA.items(), reverse=bool(number % 2))),
            VOCABULARY,
        ).sha256
        for number in range(8)
    }
    assert len(hashes) == 1


def test_anyone_can_read_the_file_with_safetensors(saved: ModelFile) -> None:
    assert set(load_file(saved.path)) == set(TENSORS)
    with safe_open(saved.path, "numpy") as file:
        metadata = json.loads(file.metadata()["silorec"])
    assert metadata["vocabulary_sha256"] == saved.vocabulary_sha256


def test_models_share_one_vocabulary_file(saved: ModelFile, tmp_path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in TENSORS.items()}
    second = save_model(tmp_path, other, METADATA, VOCABULARY)
    assert second.sha256 != saved.sha256
    assert len(list((tmp_path / "models").glob("*.vocabulary.json"))) == 1


def test_a_tensor_that_is_a_view_is_saved_as_it_reads(tmp_path: Path) -> None:
    view = np.arange(6, dtype=np.float32).reshape(2, 3).T
    model = load_model(save_model(tmp_path, {"w": view}, {}, []).path)
    assert model.tensors["w"].tolist() == view.tolist()


def test_saving_again_leaves_the_file_alone(saved: ModelFile, tmp_path: Path) -> None:
    before = saved.path.stat().st_mtime_ns
    assert save_model(tmp_path, TENSORS, METADATA, VOCABULARY) == saved
    assert saved.path.stat().st_mtime_ns == before
    assert len(list((tmp_path / "models").iterdir())) == 2


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (np.array([1.0, np.nan], np.float32), "holds NaN or infinity"),
        (np.array([np.inf], np.float32), "holds NaN or infinity"),
        (np.array([1.0]), "is float64, only float32 is kept"),
    ],
)
def test_a_model_nobody_could_use_is_not_saved(
    tmp_path: Path, tensor: np.ndarray, sentence: str
) -> None:
    with pytest.raises(LineageError, match=f"tensor w {sentence}"):
        save_model(tmp_path, {"w": tensor}, {}, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("position", [0, 8, 100, -1])
def test_one_flipped_byte_is_found(saved: ModelFile, position: int) -> None:
    content = bytearray(saved.path.read_bytes())
    content[position] ^= 1
    saved.path.write_bytes(content)
    with pytest.raises(LineageError, match="is not what its name says"):
        load_model(saved.path)


def test_a_cut_file_is_found(saved: ModelFile) -> None:
    saved.path.write_bytes(saved.path.read_bytes()[:50])
    with pytest.raises(LineageError, match="is not what its name says"):
        load_model(saved.path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"foreign"])
def test_a_file_of_another_program_is_refused(tmp_path: Path, content: bytes) -> None:
    import hashlib

    if content == b"foreign":
        save_file({"w": np.ones(1, np.float32)}, tmp_path / "foreign")
        content = (tmp_path / "foreign").read_bytes()
    path = tmp_path / f"{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    with pytest.raises(LineageError, match="not a safetensors file that silorec wrote"):
        load_model(path)


def test_another_vocabulary_under_the_name_is_found(saved: ModelFile) -> None:
    name = f"{saved.vocabulary_sha256}.vocabulary.json"
    saved.path.with_name(name).write_text('["i2", "i1", "i3"]')
    with pytest.raises(LineageError, match=r"vocabulary .* is not what its name says"):
        load_model(saved.path)


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="there is no model"):
        load_model(tmp_path / "models" / "none.safetensors")


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({"items": (4, 2)}, r"items must have shape \(4, 2\), found \(3, 2\)"),
        ({"head": (2,)}, r"head must have shape \(2,\), found none of that name"),
    ],
)
def test_a_model_of_other_shapes_is_refused(
    saved: ModelFile, shapes: dict[str, tuple[int, ...]], sentence: str
) -> None:
    load_model(saved.path, shapes={"items": (3, 2), "bias": (1,)})
    with pytest.raises(LineageError, match=sentence):
        load_model(saved.path, shapes=shapes)


@pytest.mark.parametrize(
    "tensors",
    [
        TENSORS,
        {},
        {"one number": np.float32(2).reshape(()), "none": np.zeros((0, 3), np.float32)},
        {'"quoted"\\\n\x01': np.ones(3, np.float32), "é": np.ones(1, np.float32)},
        {"turned": np.arange(6, dtype=np.float32).reshape(2, 3).T},
        {"Z": np.ones(1, np.float32), "a": np.ones(2, np.float32)},
    ],
)
def test_the_bytes_are_those_of_the_safetensors_library(tmp_path, tensors) -> None:
    saved = save_model(tmp_path, tensors, METADATA, VOCABULARY)
    listed = hashlib.sha256(
        json.dumps(VOCABULARY, ensure_ascii=False).encode()
    ).hexdigest()
    told = json.dumps({**METADATA, "vocabulary_sha256": listed}, sort_keys=True)
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    whole = {name: whole[name].reshape(tensors[name].shape) for name in whole}
    assert saved.path.read_bytes() == save(whole, metadata={"silorec": told})


@pytest.mark.slow
def test_a_model_is_saved_without_a_copy(tmp_path) -> None:
    tensors = {"items": np.ones((5_000_000, 4), np.float32)}
    tracemalloc.start()
    try:
        save_model(tmp_path, tensors, METADATA, VOCABULARY)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < tensors["items"].nbytes // 4
