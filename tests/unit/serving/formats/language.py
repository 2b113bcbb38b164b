"""A small language model in a folder, as transformers writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from stepworks.training.language_model import build_model

WORDS = ["<end>", "a", "b", "c", "d", "e", "f", "g"]
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": 0,
}


def write_language_model(folder: Path) -> Path:
    """Write a tokenizer of eight words, and a model whose weights are large: no two tokens are about as likely."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    network = build_model(config=CONFIG).network
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(8)
    network.save_pretrained(folder)
    return folder
