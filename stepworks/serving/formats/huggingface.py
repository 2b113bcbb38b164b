"""A causal language model as transformers, KServe's Hugging Face server, vLLM and TGI read it.

::

    model/            config.json, tokenizer, *.safetensors
    model/adapter/    the LoRA adapter, where it is kept apart
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import torch

from stepworks.data.tables import read_table
from stepworks.errors import ConfigurationError, NotFoundError, ServingError
from stepworks.serving.formats.assembly import assemble
from stepworks.serving.formats.sources import nothing_to_record, read_kind, spread
from stepworks.serving.manifest import MODEL_FOLDER, InputTensor, Manifest, OutputTensor, Samples
from stepworks.training.language_model import write_pretrained
from stepworks.training.model_directory import MODEL_FILE, load_model, read_model_file

FORMAT = "huggingface"
ADAPTER = "adapter"
TEXT = InputTensor(name="text", datatype="BYTES")
TOKENS = OutputTensor(name="tokens", datatype="INT64", shape=(-1,))
_TOKENIZER = "tokenizer_config.json"


def package_language_model(
    model_directory: Path,
    prompts: Path,
    destination: Path,
    *,
    base_model: str | Path | None = None,
    merge_adapters: bool = True,
    column: str = "text",
    sample_rows: int = 10,
    new_tokens: int = 16,
) -> Manifest:
    """Package a causal language model with recorded prompts, and what the trained model goes on with.

    The samples' answers are the ids of the tokens that follow the prompt, each the likeliest (greedy), and the same as
    texts.

    Args:
        model_directory: A model's folder, as the train step writes it; or a folder as transformers writes it.
        prompts: Parquet with a column of prompts.
        destination: The package's folder; it appears whole, and replaces what was there.
        base_model: What was given for training as the input `base_model`; None where there was none.
        merge_adapters: Whether LoRA adapters are merged into the weights. If not, the base model and the adapter lie
            side by side, for a server that holds several adapters.
        column: The column of prompts.
        sample_rows: How many prompts to record, spread over the table.
        new_tokens: How many tokens to record of an answer; fewer where it ends before.

    Returns:
        The package's manifest.

    Raises:
        NotFoundError: There is no model, or no table of prompts.
        DataError: The prompts cannot be read, or there are none.
        ConfigurationError: The base model is missing or unknown.
        ServingError: It is not a language model, has no tokenizer, or no adapters to be kept apart.
        ResourceError: The disk is full or the destination is not writable.
    """
    ours = (model_directory / MODEL_FILE).is_file()
    _require_language_model(model_directory, ours=ours, merge_adapters=merge_adapters)

    def write(package: Path) -> None:
        _write(model_directory, package / MODEL_FOLDER, base_model, ours=ours, merge=merge_adapters)

    def record(scratch: Path) -> Samples:
        written = scratch / "package" / MODEL_FOLDER
        network = _trained(model_directory, base_model) if ours else None
        chosen = _choose(prompts, column, sample_rows)
        answers = [continue_text(written, prompt, new_tokens, network=network) for prompt in chosen]
        read = _tokenizer(written)
        return Samples(
            rows=[{TEXT.name: prompt} for prompt in chosen],
            answers=answers,
            texts=[read.decode(answer, skip_special_tokens=True) for answer in answers],
        )

    return assemble(destination, FORMAT, (TEXT,), TOKENS, write=write, record=record)


def _require_language_model(model_directory: Path, *, ours: bool, merge_adapters: bool) -> None:
    if ours and (kind := read_kind(model_directory)) != "texts":
        raise ServingError(
            f"The model in {model_directory} is not a language model",
            received=f"a model of the kind {kind}",
            expected="one that was trained by the built-in trainer for language models",
            what_to_do="Package it by package_model.",
        )
    if not merge_adapters and not (ours and read_model_file(model_directory).settings.get("lora_rank")):
        raise ServingError(
            f"The model in {model_directory} has no adapters to be kept apart",
            received="merge_adapters=False",
            expected="a model that was trained with lora_rank, in the folder that the train step wrote",
            what_to_do="Leave merge_adapters out.",
        )


def continue_text(folder: Path, prompt: str, new_tokens: int, *, network: Any = None) -> list[int]:
    """The ids of the likeliest tokens after a prompt.

    Args:
        folder: A folder with a tokenizer, and with a model unless `network` is given.
        prompt: The text to go on with.
        new_tokens: How many tokens at most.
        network: A model of transformers in place of that of the folder.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = network if network is not None else AutoModelForCausalLM.from_pretrained(folder)
    given = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        tokens = network.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            do_sample=False,
            max_new_tokens=new_tokens,
            pad_token_id=tokenizer.eos_token_id,
        )
    return [int(each) for each in tokens[0, given.shape[1] :]]


def _trained(model_directory: Path, base_model: str | Path | None) -> Any:
    return load_model(model_directory, None if base_model is None else {"base_model": base_model}).network


def _write(model_directory: Path, folder: Path, base_model: str | Path | None, *, ours: bool, merge: bool) -> None:
    if not ours:
        _require(model_directory, "config.json", "a language model as transformers writes it")
        shutil.copytree(model_directory, folder)
    elif merge:
        write_pretrained(model_directory, folder, base_model=base_model)
    else:
        network = _trained(model_directory, base_model)
        # Where KServe mounts the package; peft would write the path of this machine.
        network.peft_config["default"].base_model_name_or_path = "/mnt/models"
        network.save_pretrained(folder / ADAPTER)
        network.unload().save_pretrained(folder)
        source = base_model if base_model is not None else read_model_file(model_directory).settings["base_model"]
        _tokenizer(source).save_pretrained(folder)
    if not (folder / _TOKENIZER).is_file():
        raise ServingError(
            f"The language model in {model_directory} has no tokenizer",
            received=f"no {_TOKENIZER} beside the model, nor beside its base model",
            expected="a tokenizer, without which no server takes texts",
            what_to_do="Save the tokenizer into the folder of the base model, or into the model's.",
        )


def _tokenizer(source: str | Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source)


def _require(folder: Path, file: str, what: str) -> None:
    if not (folder / file).is_file():
        raise NotFoundError(
            f"There is no language model in {folder}",
            received="no such folder" if not folder.exists() else f"neither {file} nor {MODEL_FILE} in it",
            expected=f"{what}, or the model folder that the train step wrote",
            what_to_do="Give the folder of the trained model.",
        )


def _choose(prompts: Path, column: str, count: int) -> list[str]:
    texts = read_table(prompts, [column])[column]
    if texts.dtype != pl.String:
        raise ConfigurationError(
            f"The column {column} of {prompts} holds no prompts",
            received=str(texts.dtype),
            expected="texts",
            what_to_do="Name the column of prompts.",
        )
    given = texts.drop_nulls()
    if given.is_empty():
        raise nothing_to_record(prompts)
    return [given[position] for position in spread(pl.arange(len(given), eager=True), count)]
