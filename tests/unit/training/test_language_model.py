"""Causal language models: texts packed, trained in full and by LoRA without a network, and written for others."""

import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from kfp import dsl
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from stepworks.components.data.tokenize_texts.component import tokenize_texts
from stepworks.errors import CheckpointError, ConfigurationError, DataError, TrainingError
from stepworks.training.checkpoint.state import tensors_of
from stepworks.training.data.tokens import NOT_TRAINED, TokenWriter
from stepworks.training.language_model import LanguageModel, build_model, read_tokens, write_pretrained, write_tokens
from stepworks.training.model_directory import load_model
from stepworks.training.spec import LoopSettings, ParallelSettings, TrainingSpec
from stepworks.training.train import train
from stepworks.training.trial import try_model
from stepworks.training.workspace import Workspace

transformers = pytest.importorskip("transformers", reason="the extra language is not installed")
pytest.importorskip("peft", reason="the extra language is not installed")

WORDS = ["<end>", "<begin>", "a", "b", "c", "d"]
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 8,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of six words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("tokenizer")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", bos_token="<begin>")
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Path:
    """A pretrained model, which was never trained, with its tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    build_model(config=CONFIG).network.save_pretrained(folder)
    for file in tokenizer.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def write_texts(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_texts_are_tokenised_and_packed(tmp_path: Path, tokenizer: Path) -> None:
    texts = write_texts(tmp_path / "texts", text=["a b", "c", "d d d"])
    samples = write_tokens(texts, tmp_path / "tokens", tokenizer=tokenizer, length=4)
    (tokens,), _ = samples.take(torch.arange(len(samples)))
    assert tokens.tolist() == [[1, 2, 3, 0], [1, 4, 0, 1], [5, 5, 5, 0]]
    assert read_tokens(tmp_path / "tokens").fingerprint() == samples.fingerprint()
    assert samples.classes == 6


def test_prompts_are_not_trained_on(tmp_path: Path, tokenizer: Path) -> None:
    texts = write_texts(tmp_path / "texts", question=["a b"], answer=["c d"])
    samples = write_tokens(texts, tmp_path / "tokens", tokenizer=tokenizer, length=5, text="answer", prompt="question")
    (tokens,), targets = samples.take(torch.tensor([0]))
    assert tokens.tolist() == [[1, 2, 3, 4, 5]]
    assert targets.tolist() == [[NOT_TRAINED, NOT_TRAINED, 4, 5, 0]]


def test_the_step_leaves_shards_for_the_data_builder(tmp_path: Path, tokenizer: Path) -> None:
    tokens = dsl.Dataset(name="tokens", uri=str(tmp_path / "tokens"))
    tokenize_texts.python_func(
        texts=dsl.Dataset(name="texts", uri=str(write_texts(tmp_path / "texts", text=["a b", "c", "d d d"]))),
        tokenizer=str(tokenizer),
        tokens=tokens,
        length=4,
    )
    assert len(read_tokens(tmp_path / "tokens")) == tokens.metadata["rows"] == 3


@pytest.mark.parametrize("values", [[None, "a", "b"], [1, 2, 3]], ids=["missing", "numbers"])
def test_what_is_no_text_is_told(tmp_path: Path, tokenizer: Path, values: list[object]) -> None:
    texts = write_texts(tmp_path / "texts", text=values)
    with pytest.raises(DataError, match=r"column text of row group 0 of .*texts does not hold texts"):
        write_tokens(texts, tmp_path / "tokens", tokenizer=tokenizer, length=4)
    assert not (tmp_path / "tokens" / "tokens.json").exists()


def test_a_tokenizer_that_is_not_there_is_told(tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts", text=["a"])
    with pytest.raises(ConfigurationError, match="no tokenizer"):
        write_tokens(texts, tmp_path / "tokens", tokenizer=tmp_path / "absent", length=4)


def token_shards(folder: Path, *, rows: int, length: int = 8, vocabulary: int = 8) -> Path:
    """Texts that count: each token is followed by the next one."""
    with TokenWriter(folder, length=length, vocabulary=vocabulary) as writer:
        writer.add([number % 8 for number in range(rows * length + 1)])
    return folder


def spec(folder: Path, settings: dict[str, Any], inputs: dict[str, str], **loop: Any) -> TrainingSpec:
    token_shards(folder / "train", rows=80)
    token_shards(folder / "validation", rows=8)
    return TrainingSpec(
        model="stepworks.training.language_model:build_model",
        data="stepworks.training.language_model:read_tokens",
        model_settings=settings,
        inputs={"train": str(folder / "train"), "validation": str(folder / "validation"), **inputs},
        loop=LoopSettings(**{"epochs": 3, "batch_size": 8, "learning_rate": 0.05, **loop}),
        parallel=ParallelSettings(device="cpu"),
    )


def logits_of(network: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = network.eval()(input_ids=torch.tensor([[0, 1, 2, 3]])).logits
    return logits


def test_a_new_model_learns_to_count_and_is_written_for_others(tmp_path: Path) -> None:
    document = train(spec(tmp_path, {"config": CONFIG}, {}), Workspace(tmp_path / "run"))
    best = document.epochs[document.best_epoch - 1]
    assert best.validation_loss is not None
    assert best.validation_loss < 0.1
    assert best.figures["validation_token_loss"] == pytest.approx(best.validation_loss, rel=1e-4)
    write_pretrained(tmp_path / "run" / "model", tmp_path / "pretrained")
    written = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "pretrained")
    assert logits_of(written).argmax(dim=2).tolist() == [[1, 2, 3, 4]]


def test_a_model_whose_head_is_its_embedding_is_kept_and_written(tmp_path: Path) -> None:
    tied = spec(tmp_path, {"config": {**CONFIG, "tie_word_embeddings": True}}, {}, epochs=1)
    train(tied, Workspace(tmp_path / "run"))
    assert train(tied, Workspace(tmp_path / "run")).resumed_from_epoch == 1
    write_pretrained(tmp_path / "run" / "model", tmp_path / "pretrained")
    network = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "pretrained")
    assert network.lm_head.weight is network.model.embed_tokens.weight
    kept = load_model(tmp_path / "run" / "model")
    torch.testing.assert_close(logits_of(network), logits_of(kept.network))


def test_adapters_alone_are_trained_and_are_merged_when_written(tmp_path: Path, base_model: Path) -> None:
    settings = {"lora_rank": 4.0, "lora_dropout": 0.1}
    train(spec(tmp_path, settings, {"base_model": str(base_model)}), Workspace(tmp_path / "run"))
    destination = tmp_path / "pretrained"
    write_pretrained(tmp_path / "run" / "model", destination, base_model=base_model)
    before = transformers.AutoModelForCausalLM.from_pretrained(base_model)
    after = transformers.AutoModelForCausalLM.from_pretrained(destination)
    changed = {name for name, weight in after.state_dict().items() if not weight.equal(before.state_dict()[name])}
    assert all("_proj." in name for name in changed)
    assert len(changed) == 14
    assert logits_of(after).argmax(dim=2).tolist() != logits_of(before).argmax(dim=2).tolist()
    assert transformers.AutoTokenizer.from_pretrained(destination)("a b")["input_ids"] == [2, 3]


def test_a_checkpoint_of_adapters_is_without_the_weights_beneath_and_resumes_to_the_bit(
    tmp_path: Path, base_model: Path
) -> None:
    undisturbed, resumed = Workspace(tmp_path / "undisturbed"), Workspace(tmp_path / "resumed")
    training = spec(tmp_path, {"lora_rank": 2, "lora_dropout": 0.1}, {"base_model": str(base_model)}, epochs=2)
    train(training, undisturbed)
    shutil.copytree(undisturbed.root, resumed.root)
    first, last = sorted(resumed.checkpoints.glob("step-*"))
    for folder in (last, resumed.model):
        shutil.rmtree(folder)
    assert train(training, resumed).resumed_from_epoch == 1
    weights = [(each.model / "model.safetensors").read_bytes() for each in (undisturbed, resumed)]
    assert weights[0] == weights[1]

    held = FileSystemReader(first).read_metadata().state_dict_metadata
    sizes = {name: math.prod(each.size) for name, each in held.items() if isinstance(each, TensorStorageMetadata)}
    trained = {
        f"model.{name}": weight.numel()
        for name, weight in build_model(base_model=base_model, lora_rank=2).named_parameters()
        if weight.requires_grad
    }
    assert {name: size for name, size in sizes.items() if name.startswith("model.")} == trained
    assert sum(sizes.values()) == 3 * sum(trained.values()) + len(trained)  # with two moments, and counters of steps


def test_adapters_are_not_resumed_on_another_base_model(tmp_path: Path, base_model: Path) -> None:
    other = tmp_path / "base"
    torch.manual_seed(1)
    build_model(config=CONFIG).network.save_pretrained(other)
    workspace = Workspace(tmp_path / "run")
    train(spec(tmp_path, {"lora_rank": 2}, {"base_model": str(base_model)}, epochs=1), workspace)
    with pytest.raises(CheckpointError, match="frozen_weights: checkpoint"):
        train(spec(tmp_path, {"lora_rank": 2}, {"base_model": str(other)}, epochs=1), workspace)


def test_a_head_that_is_the_embedding_is_in_no_checkpoint_of_adapters() -> None:
    model = build_model(config={**CONFIG, "tie_word_embeddings": True}, lora_rank=2)
    assert "network.base_model.model.lm_head.weight" in model.state_dict()
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad])
    assert all("lora_" in name for name in tensors_of(model, optimizer)["model"])


def test_a_model_is_loaded_with_the_base_model_that_it_was_built_from(tmp_path: Path, base_model: Path) -> None:
    folder = tmp_path / "run" / "model"
    train(spec(tmp_path, {"lora_rank": 2}, {"base_model": str(base_model)}, epochs=1), Workspace(tmp_path / "run"))
    with pytest.raises(ConfigurationError, match=r"Expected: base_model(?s:.*)load_model inputs=\{'base_model'"):
        load_model(folder)
    with pytest.raises(ConfigurationError, match="inputs that are not in its folder"):
        write_pretrained(folder, tmp_path / "pretrained")
    loaded = load_model(folder, {"base_model": base_model})
    write_pretrained(folder, tmp_path / "pretrained", base_model=base_model)
    written = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "pretrained")
    torch.testing.assert_close(logits_of(loaded.network), logits_of(written))


def test_weights_of_another_base_model_are_told(tmp_path: Path, base_model: Path) -> None:
    train(spec(tmp_path, {"config": CONFIG}, {}, epochs=1), Workspace(tmp_path / "run"))
    path = tmp_path / "run" / "model" / "model.json"
    path.write_text(path.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(TrainingError, match=r"model in .* cannot be loaded(?s:.*)Missing key"):
        write_pretrained(tmp_path / "run" / "model", tmp_path / "pretrained")


def test_the_gradient_does_not_depend_on_how_a_batch_is_split() -> None:
    torch.manual_seed(0)
    model = build_model(config=CONFIG)
    tokens, targets = torch.randint(0, 8, (2, 4, 8))
    targets[0, :7] = NOT_TRAINED
    targets[1] = NOT_TRAINED

    def gradient(parts: int) -> torch.Tensor:
        model.zero_grad()
        for part, part_targets in zip(tokens.chunk(parts), targets.chunk(parts), strict=True):
            (model.loss(model(part), part_targets) / parts).backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])

    whole = gradient(1)
    assert whole.isfinite().all()
    for parts in (2, 4):
        torch.testing.assert_close(gradient(parts), whole)


def test_the_operations_of_a_row_are_counted() -> None:
    model = build_model(config=CONFIG)
    assert model.flops_per_sample is None
    model(torch.zeros(1, 8, dtype=torch.int64))
    attention, feed_forward, norms, head = 4 * 16 * 16, 3 * 16 * 32, 5 * 16, 8 * 16
    weights = 2 * (attention + feed_forward) + norms + head
    assert model.flops_per_sample == 8 * (6 * weights + 12 * 2 * 16 * 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "neither base_model nor config"),
        ({"config": CONFIG, "base_model": "x"}, "base_model and config"),
        ({"config": {"model_type": "no-such"}}, "no-such"),
        ({"config": {**CONFIG, "num_attention_heads": 3}}, "cannot be built"),
        ({"base_model": Path("absent")}, "no model in absent(?s:.*)no folder"),
        ({"base_model": "/"}, "a folder without config.json"),
        ({"config": CONFIG, "lora_rank": 4, "lora_modules": ["no_such_layer"]}, "no_such_layer"),
    ],
)
def test_a_model_that_cannot_be_built_is_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_model(**settings)


def attempt(model: LanguageModel, folder: Path) -> None:
    try_model(model, read_tokens(folder), torch.device("cpu"), model="build_model", data="read_tokens")


def test_rows_longer_than_the_context_are_told_before_training(tmp_path: Path) -> None:
    folder = token_shards(tmp_path, rows=4, length=40)
    with pytest.raises(ConfigurationError, match=r"rows of 40 tokens(?s:.*)at most 32"):
        attempt(build_model(config=CONFIG), folder)


def test_tokens_of_another_vocabulary_are_told_before_training(tmp_path: Path) -> None:
    folder = token_shards(tmp_path, rows=4, vocabulary=9)
    with pytest.raises(ConfigurationError, match="logits of 8 classes, and targets of 9 classes"):
        attempt(build_model(config=CONFIG), folder)


def test_activations_computed_again_give_the_same_gradient() -> None:
    gradients = []
    tokens = torch.randint(0, 8, (2, 8))
    for again in (False, True):
        torch.manual_seed(0)
        model = build_model(config=CONFIG, checkpoint_activations=again).train()
        model.loss(model(tokens), tokens).backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
        assert model.network.is_gradient_checkpointing is again
    torch.testing.assert_close(gradients[0], gradients[1])
