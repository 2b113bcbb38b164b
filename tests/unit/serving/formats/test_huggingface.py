"""Language models as folders that transformers loads, with what the trained model goes on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from kfp.dsl import Dataset, Model

from stepworks.components.serving.package_language_model.component import package_language_model as component
from stepworks.errors import ConfigurationError, DataError, NotFoundError, ServingError
from stepworks.serving.formats.huggingface import continue_text, package_language_model
from stepworks.serving.manifest import Samples, read_package
from stepworks.training.language_model import build_model
from stepworks.training.model_directory import save_model
from tests.unit.serving.formats.language import CONFIG, WORDS, write_language_model

transformers = pytest.importorskip("transformers", reason="the extra language is not installed")
peft = pytest.importorskip("peft", reason="the extra language is not installed")


@pytest.fixture(scope="module")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("base"))


def save(folder: Path, network: torch.nn.Module, settings: dict[str, Any], inputs: list[str]) -> Path:
    save_model(
        folder,
        network.state_dict(),
        None,
        "stepworks.training.language_model:build_model",
        settings,
        "stepworks.training.language_model:read_tokens",
        data_settings={},
        inputs=inputs,
    )
    return folder


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Path:
    """The base model with LoRA adapters that change what it says, as the train step writes it."""
    settings = {"lora_rank": 4}
    torch.manual_seed(1)
    model = build_model(base_model=base_model, **settings)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_" in name:
                weights.normal_()
    return save(tmp_path_factory.mktemp("tuned") / "model", model, settings, ["base_model"])


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.parquet"
    pl.DataFrame({"text": ["a b c", "d", None, "e f", "g g a", "b d f"]}).write_parquet(path)
    return path


def test_merged_adapters_load_as_any_other_model_and_say_what_the_trained_one_does(
    tuned: Path, base_model: Path, prompts: Path, tmp_path: Path
) -> None:
    package = Model(name="package", uri=str(tmp_path / "package"))
    component.python_func(
        Model(name="model", uri=str(tuned)),
        Dataset(name="prompts", uri=str(prompts)),
        package,
        Model(name="base", uri=str(base_model)),
    )
    manifest, samples = read_package(tmp_path / "package"), Samples.read(tmp_path / "package")
    assert package.metadata["digest"] == manifest.digest
    assert (manifest.format, manifest.inputs[0].name, manifest.output.datatype) == ("huggingface", "text", "INT64")
    assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json"} <= set(manifest.files)
    assert not any("adapter" in name for name in manifest.files)
    assert [row["text"] for row in samples.rows] == ["a b c", "d", "e f", "g g a", "b d f"]
    folder = tmp_path / "package" / "model"
    said = [continue_text(folder, row["text"], 16) for row in samples.rows]
    assert said == samples.answers
    before = [continue_text(base_model, row["text"], 16) for row in samples.rows]
    assert said != before, "the adapters count"
    for file in folder.glob("*.json"):
        assert str(base_model) not in file.read_text()


def test_adapters_are_kept_beside_the_base_model(tuned: Path, base_model: Path, prompts: Path, tmp_path: Path) -> None:
    package_language_model(
        tuned, prompts, tmp_path / "package", base_model=base_model, merge_adapters=False, new_tokens=8
    )
    samples, folder = Samples.read(tmp_path / "package"), tmp_path / "package" / "model"
    described = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert described["base_model_name_or_path"] == "/mnt/models"
    base = transformers.AutoModelForCausalLM.from_pretrained(folder)
    rows = [row["text"] for row in samples.rows]
    assert [continue_text(folder, row, 8) for row in rows] == [continue_text(base_model, row, 8) for row in rows]
    whole = peft.PeftModel.from_pretrained(base, folder / "adapter")
    assert [continue_text(folder, row, 8, network=whole) for row in rows] == samples.answers


def test_a_folder_of_transformers_is_packaged_as_it_is(base_model: Path, prompts: Path, tmp_path: Path) -> None:
    package_language_model(base_model, prompts, tmp_path / "package", sample_rows=2, new_tokens=4)
    samples = Samples.read(tmp_path / "package")
    assert [row["text"] for row in samples.rows] == ["a b c", "e f"]
    assert all(0 < len(answer) <= 4 for answer in samples.answers)
    said = [" ".join(WORDS[token] for token in answer if token) for answer in samples.answers]  # 0 is <end>
    assert samples.texts == said
    for file in base_model.iterdir():
        assert (tmp_path / "package" / "model" / file.name).read_bytes() == file.read_bytes()


def test_what_is_no_language_model_is_told(
    model_directory: Path, tuned: Path, base_model: Path, prompts: Path, tmp_path: Path
) -> None:
    target = tmp_path / "package"
    with pytest.raises(ServingError, match=r"(?s)not a language model.*kind table.*package_model"):
        package_language_model(model_directory, prompts, target)
    with pytest.raises(NotFoundError, match=r"(?s)no language model in .*no such folder"):
        package_language_model(tmp_path / "gone", prompts, target)
    with pytest.raises(ConfigurationError, match="built from inputs that are not in its folder"):
        package_language_model(tuned, prompts, target)
    with pytest.raises(ServingError, match="no adapters to be kept apart"):
        package_language_model(base_model, prompts, target, merge_adapters=False)
    new = save(tmp_path / "new", build_model(config=CONFIG), {"config": CONFIG}, [])
    with pytest.raises(ServingError, match="has no tokenizer"):
        package_language_model(new, prompts, target)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_prompts_that_are_none_are_told(base_model: Path, prompts: Path, tmp_path: Path) -> None:
    pl.DataFrame({"text": [1, 2], "none": pl.Series([None, None], dtype=pl.String)}).write_parquet(tmp_path / "n")
    with pytest.raises(ConfigurationError, match=r"(?s)column text .* holds no prompts.*Int64"):
        package_language_model(base_model, tmp_path / "n", tmp_path / "package")
    with pytest.raises(DataError, match="no rows"):
        package_language_model(base_model, tmp_path / "n", tmp_path / "package", column="none")
    with pytest.raises(DataError, match="answer"):
        package_language_model(base_model, prompts, tmp_path / "package", column="answer")
