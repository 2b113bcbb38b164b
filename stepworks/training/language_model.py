"""The built-in trainer for causal language models: texts packed into token shards, and full or LoRA fine-tuning.

It needs the extra `language` (transformers and peft).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import nn
from torch.nn import functional

from stepworks.errors import ConfigurationError, DataError, StepworksError
from stepworks.training.data.parquet import RowGroups
from stepworks.training.data.tokens import NOT_TRAINED, TokenSamples, TokenWriter
from stepworks.training.model_directory import load_model, read_model_file

_TEXTS_AT_ONCE = 1024


class LanguageModel(nn.Module):
    """A causal language model of transformers, which answers tokens with logits of the tokens that follow.

    Args:
        network: A `PreTrainedModel` with a language-model head, or one that peft has put adapters into.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self._length: int | None = None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits of shape [rows, length, vocabulary] for tokens, int64 of shape [rows, length].

        Raises:
            ConfigurationError: The first rows are longer than the model's context.
        """
        if self._length is None:
            self._check_length(tokens.shape[1])
        logits: torch.Tensor = self.network(input_ids=tokens, use_cache=False).logits
        return logits

    @staticmethod
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The cross-entropies of the tokens that are trained on, their sum divided by the number of all tokens.

        Divided by all, and not by those that are trained on, so that the parts of a batch weigh the same however it
        is shared out and split: the gradient does not depend on it. For texts without prompts the two are the same.
        """
        return _cross_entropies(logits, targets).sum() / targets.numel()

    @staticmethod
    def figures(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """`token_loss`: for each row the mean cross-entropy of the tokens that are trained on, 0 without any."""
        trained = (targets != NOT_TRAINED).sum(dim=1).clamp(min=1)
        return {"token_loss": _cross_entropies(logits, targets).sum(dim=1) / trained}

    @property
    def flops_per_sample(self) -> float | None:
        """Operations of one row, forward and backward; None before the first row, and for mixtures of experts.

        6 for each weight and token, 4 where the weight is frozen, and 12 x layers x width x length for each token's
        attention, of which the causal mask's half is counted too. The input embeddings multiply nothing.
        """
        config = self.network.config
        experts = max(getattr(config, name, None) or 0 for name in ("num_local_experts", "num_experts"))
        if self._length is None or experts > 1:
            return None
        embeddings = self.network.get_input_embeddings().weight
        head = self.network.get_output_embeddings()
        weights = sum(
            (6 if weight.requires_grad else 4) * weight.numel()
            for weight in self.network.parameters()
            if weight is not embeddings or (head is not None and head.weight is embeddings)
        )
        attention = 12 * config.num_hidden_layers * config.hidden_size * self._length
        return float((weights + attention) * self._length)

    def _check_length(self, length: int) -> None:
        context = getattr(self.network.config, "max_position_embeddings", None) or math.inf
        if length > context:
            raise ConfigurationError(
                "The rows of tokens are longer than the context of the model",
                received=f"rows of {length} tokens",
                expected=f"at most {context}",
                what_to_do="Pack the texts into shorter rows, or take a model with a longer context.",
            )
        self._length = length


def build_model(
    *,
    base_model: str | Path | None = None,
    config: dict[str, Any] | None = None,
    lora_rank: int = 0,
    lora_alpha: float | None = None,
    lora_dropout: float = 0.0,
    lora_modules: Sequence[str] = (),
    checkpoint_activations: bool = False,
) -> LanguageModel:
    """Build a language model (a model builder of the training contract).

    The weights are float32, whatever they are stored as; the training setting `precision` says in what is computed.

    Args:
        base_model: The folder of a pretrained model, or its name on a hub that the step reaches; give a folder as the
            input `base_model`, or either in `model_settings`.
        config: Instead of it, the configuration of a new model: its `model_type`, as transformers calls it, and what
            differs from that type's defaults.
        lora_rank: The rank of LoRA adapters beside the linear layers, which alone are trained; 0 to train all weights.
        lora_alpha: How much the adapters count, divided by the rank; None for twice the rank.
        lora_dropout: The share of an adapter's inputs that is dropped in training.
        lora_modules: The names of the layers with adapters; empty for all linear layers but the head.
        checkpoint_activations: Whether activations are computed again in the backward pass: less memory, more time.

    Raises:
        ConfigurationError: The model or a setting is unknown, or the extra `language` is not installed.
    """
    try:
        network = _network(base_model, config)
        if checkpoint_activations:
            network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if lora_rank:
            network = _with_adapters(network, lora_rank, lora_alpha, lora_dropout, lora_modules)
    except StepworksError:
        raise
    except ImportError as error:
        raise _extra_missing(error) from error
    except Exception as error:  # transformers and peft raise of every kind for a wrong setting
        raise ConfigurationError(
            "The language model cannot be built",
            received=f"{f'base_model {base_model}' if base_model else 'config'}: {type(error).__name__}: "
            f"{str(error).partition('. ')[0]}",
            expected="a model and settings that transformers and peft know",
            what_to_do="Correct model_settings, or the input base_model.",
        ) from error
    return LanguageModel(network)


def _network(base_model: str | Path | None, config: dict[str, Any] | None) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    if (base_model is None) == (config is None):
        raise ConfigurationError(
            "It is not clear which language model is to be trained",
            received="base_model and config" if config is not None else "neither base_model nor config",
            expected="one of the two",
            what_to_do="Give the input base_model to fine-tune, or config in model_settings for a new model.",
        )
    if base_model is not None:
        _check_folder(base_model, "model", "config.json")
        return AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32)
    assert config is not None
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**{"model_type": "", **config}), dtype=torch.float32)


def _check_folder(name: str | Path, kind: str, file: str) -> None:
    """Tell at once a folder that is none: a name that is no folder would be looked for on a hub, for a minute."""
    is_path = isinstance(name, Path) or name.startswith(("/", "."))
    if is_path and not (Path(name) / file).is_file():
        raise ConfigurationError(
            f"There is no {kind} in {name}",
            received=f"a folder without {file}" if Path(name).is_dir() else "no folder of that name",
            expected=f"a folder as transformers writes it, with {file}",
            what_to_do=f"Give the folder of the {kind}.",
        )


def _with_adapters(network: Any, rank: int, alpha: float | None, dropout: float, modules: Sequence[str]) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        network,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=rank,
            lora_alpha=2 * rank if alpha is None else alpha,
            lora_dropout=dropout,
            target_modules=list(modules) or "all-linear",
        ),
    )


def read_tokens(folder: Path) -> TokenSamples:
    """Read token shards (a data builder of the training contract): what `write_tokens` wrote.

    Raises:
        NotFoundError: The folder holds no complete token shards.
        DataError: A shard is not as it was written.
    """
    return TokenSamples(folder)


def write_tokens(
    texts: Path, folder: Path, *, tokenizer: str | Path, length: int, text: str = "text", prompt: str = ""
) -> TokenSamples:
    """Make token shards of texts in Parquet: each ends with the end-of-text token, and is packed behind the one before.

    Args:
        texts: A Parquet file, or a folder of `*.parquet`.
        folder: Where the shards are written.
        tokenizer: The folder of a tokenizer, or its name on a hub that the step reaches.
        length: The tokens that the model is to see of a row.
        text: The column of texts.
        prompt: A column of what precedes each text, and is not trained on; empty for none.

    Raises:
        NotFoundError: There is no such file.
        DataError: A file is not Parquet, lacks a column, or has a text that is missing.
        ConfigurationError: The tokenizer is unknown or has no end of text, or the extra `language` is not installed.
        ResourceError: The folder cannot be written.
    """
    columns = [prompt, text] if prompt else [text]
    groups = RowGroups(texts, columns, _named_texts)
    encoder = _tokenizer(tokenizer)
    first = [] if encoder.bos_token_id is None else [encoder.bos_token_id]
    with TokenWriter(folder, length=length, vocabulary=len(encoder)) as writer:
        for values in _batches(groups, columns):
            encoded = [encoder(each, add_special_tokens=False)["input_ids"] for each in values]
            for *prompts, answer in zip(*encoded, strict=True):
                before = [*first, *(token for tokens in prompts for token in tokens)]
                writer.add([*before, *answer, encoder.eos_token_id], prompt=len(before) if prompt else 0)
    return TokenSamples(folder)


def _named_texts(table: pa.Table, name: str) -> pa.Table:
    for column in table.column_names:
        values = table[column]
        if values.null_count or not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            raise DataError(
                f"The column {column} of {name} does not hold texts",
                received=f"{values.type}, {values.null_count} missing in {table.num_rows} rows",
                expected="strings, none missing",
                what_to_do="Convert the column or drop the rows when the data is prepared, or name another column.",
            )
    return table


def _batches(groups: RowGroups[pa.Table], columns: Sequence[str]) -> Iterator[list[list[str]]]:
    """The texts of each column, some at once, in the order of the rows."""
    for indices in torch.split(torch.arange(len(groups)), _TEXTS_AT_ONCE):
        for table, rows, _ in groups.parts(indices):
            part = table.slice(int(rows[0]), len(rows))
            yield [part[column].to_pylist() for column in columns]


def _tokenizer(name: str | Path) -> Any:
    _check_folder(name, "tokenizer", "tokenizer_config.json")
    try:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(name)
    except ImportError as error:
        raise _extra_missing(error) from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"There is no tokenizer {name}",
            received=str(error).partition(". ")[0],
            expected="a folder with a tokenizer, or a name on a hub that can be reached",
            what_to_do="Correct the name, or give the folder of the model that is to be trained.",
        ) from error
    if tokenizer.eos_token_id is None:
        raise ConfigurationError(
            f"The tokenizer {name} has no token for the end of a text",
            received="eos_token: none",
            expected="a tokenizer of a language model",
            what_to_do="Set eos_token in the tokenizer's configuration.",
        )
    return tokenizer


def write_pretrained(model_directory: Path, destination: Path, *, base_model: str | Path | None = None) -> None:
    """Write a trained language model as transformers and model servers read it; LoRA adapters are merged into it.

    Args:
        model_directory: The model folder that training wrote.
        destination: The folder to write to. A tokenizer beside the base model is written there too.
        base_model: What was given for training as the input `base_model`; None if it is in the model's settings.

    Raises:
        NotFoundError: The folder holds no model.
        TrainingError: The weights are torn or do not fit.
        ConfigurationError: The base model is unknown or missing.
    """
    settings = read_model_file(model_directory).settings
    model = load_model(model_directory, {"base_model": base_model} if base_model is not None else None)
    network: Any = model.network
    if settings.get("lora_rank"):
        network = network.merge_and_unload()
    network.save_pretrained(destination)
    source = base_model if base_model is not None else settings.get("base_model")
    if source is not None and (not Path(source).is_dir() or (Path(source) / "tokenizer_config.json").is_file()):
        _tokenizer(source).save_pretrained(destination)


def _cross_entropies(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of each token, of shape [rows, length]; 0 for what is not trained on."""
    losses = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=NOT_TRAINED, reduction="none"
    )
    return losses.view_as(targets)


def _extra_missing(error: ImportError) -> ConfigurationError:
    return ConfigurationError(
        "Language models need packages that are not installed",
        received=str(error),
        expected="the extra language: transformers and peft",
        what_to_do="Install stepworks[language], or run the step in the gpu image.",
    )
