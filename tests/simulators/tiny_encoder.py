"""A BERT of random numbers, small enough for a test, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import torch

HIDDEN = 16


def write_tiny_encoder(folder: Path, seed: int = 0) -> Path:
    """A model and its tokenizer as `save_pretrained` writes them, in safetensors."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*special, "space", "war", "love", "story", "Heat", "Drama", "Crime", "."]
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(
            BertConfig(
                vocab_size=len(words),
                hidden_size=HIDDEN,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                initializer_range=0.5,
            )
        )
    model.save_pretrained(folder)
    return folder
