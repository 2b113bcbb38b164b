"""Each setting of the loop in use, on a small model in this process."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stepworks.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    ResourceError,
    StepworksError,
    TrainingError,
)
from stepworks.report.documents import TrainingDocument
from stepworks.training.checkpoint.manifest import MANIFEST_FILE, Manifest, record_file
from stepworks.training.checkpoint.state import STATE_FILE
from stepworks.training.metrics import read_metrics
from stepworks.training.model_directory import MODEL_FILE
from stepworks.training.spec import TrainingSpec
from stepworks.training.train import train
from stepworks.training.workspace import Workspace
from tests.training.ranks import losses, small_spec
from tests.training.small import Small
from tests.unit.training.file_limit import limited_file_size


class Classifier(Small):
    """Also has a figure of its own: how often the sign is right."""

    def figures(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"accuracy": (outputs > 0) == (targets > 0)}


class Hungry(Small):
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return super().loss(outputs, targets)


def classifier(*, dropout: float, **_further: Any) -> Classifier:
    return Classifier(dropout)


def hungry(*, dropout: float, **_further: Any) -> Hungry:
    return Hungry(dropout)


class Lost(Small):
    """Cannot be validated."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return super().loss(outputs, targets) * (1 if self.training or len(outputs) == 2 else float("nan"))


class TooLarge(Small):
    def to(self, *_given: Any, **_named: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class TooHungry(Small):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried")


class Slow(Small):
    """Knows its operations from the tenth batch that it has seen."""

    batches = 0

    @property
    def flops_per_sample(self) -> float | None:
        return 100.0 if self.batches >= 10 else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self.batches += 1
        return super().forward(features)


def slow(*, dropout: float, **_further: Any) -> Slow:
    return Slow(dropout)


def lost(*, dropout: float, **_further: Any) -> Lost:
    return Lost(dropout)


def too_large(*, dropout: float, **_further: Any) -> TooLarge:
    return TooLarge(dropout)


def too_hungry(*, dropout: float, **_further: Any) -> TooHungry:
    return TooHungry(dropout)


def with_model(spec: TrainingSpec, name: str) -> TrainingSpec:
    return spec.model_copy(update={"model": f"{__name__}:{name}"})


def run(tmp_path: Path, **changed: Any) -> TrainingDocument:
    return train(small_spec(tmp_path, **changed), Workspace(tmp_path / "run"))


@pytest.mark.parametrize(
    "changed",
    [
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"schedule": "cosine"},
        {"schedule": "constant"},
        {"schedule": "cosine", "warmup": 0},
        {"clip_norm": None},
        {"accumulation": 5},
        {"patience": None},
        {"deterministic": False},
        {"asynchronous": False, "every_steps": 1},
    ],
    ids=str,
)
def test_a_setting_trains(tmp_path: Path, changed: dict[str, Any]) -> None:
    document = run(tmp_path, **changed)
    assert len(document.epochs) == 3
    assert document.epochs[-1].train_loss < document.epochs[0].train_loss


def test_the_learning_rate_rises_and_falls_as_the_schedule_says(tmp_path: Path) -> None:
    rates = {}
    for schedule in ("one_cycle", "cosine", "constant"):
        spec = small_spec(tmp_path, schedule=schedule, warmup=0.2)
        workspace = Workspace(tmp_path / schedule)
        train(spec, workspace)
        lines = [json.loads(line) for line in workspace.metrics.read_text().splitlines()]
        rates[schedule] = [line["learning_rate"] for line in lines if line["kind"] == "step"]
    for values in rates.values():
        assert values[0] < values[2] == pytest.approx(0.05, rel=0.1)
    assert rates["constant"][-1] == pytest.approx(0.05)
    assert rates["one_cycle"][-1] < 0.001
    assert rates["cosine"][-1] < 0.001


def test_steps_end_in_the_middle_of_an_epoch_and_the_epoch_counts(tmp_path: Path) -> None:
    document = run(tmp_path, steps=7)
    assert list(losses(Workspace(tmp_path / "run"))) == list(range(1, 8))
    assert len(document.epochs) == 2
    values = losses(Workspace(tmp_path / "run"))
    assert document.epochs[1].train_loss == pytest.approx((values[6] + values[7]) / 2)


def test_without_validation_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    spec = small_spec(tmp_path)
    spec = spec.model_copy(update={"inputs": {"train": spec.inputs["train"]}})
    document = train(spec, Workspace(tmp_path / "run"))
    assert document.best_epoch == 3
    assert document.epochs[0].validation_loss is None


def test_a_figure_of_the_models_own_chooses_the_best_epoch(tmp_path: Path) -> None:
    spec = with_model(small_spec(tmp_path, monitor="validation_accuracy", epochs=6), "classifier")
    document = train(spec, Workspace(tmp_path / "run"))
    accuracies = [epoch.figures["validation_accuracy"] for epoch in document.epochs]
    assert document.best_epoch == 1 + accuracies.index(max(accuracies))
    assert 0.5 < max(accuracies) <= 1


def test_operations_that_a_model_knows_late_are_told_from_then_on(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "run")
    train(with_model(small_spec(tmp_path), "slow"), workspace)
    lines = [line for line in read_metrics(workspace.metrics) if line["kind"] == "step"]
    assert lines[0]["flops_per_second_and_device"] is None
    last = lines[-1]
    assert last["flops_per_second_and_device"] == pytest.approx(100 * last["samples_per_second"])


def test_a_loss_above_its_limit_has_diverged(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="diverged at step 1"):
        run(tmp_path, loss_limit=1e-6)


def test_out_of_memory_says_which_settings_to_change(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Tried to allocate") as caught:
        train(with_model(small_spec(tmp_path), "hungry"), Workspace(tmp_path / "run"))
    assert "12 samples a process in 1 parts" in caught.value.received
    assert caught.value.what_to_do == (
        "Raise accumulation above 1, or lower batch_size below 12; or set precision to bf16."
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 10}, r"loop\.batch_size: checkpoint 12, now 10"),
        ({"seed": 4}, r"loop\.seed: checkpoint 3, now 4"),
        ({"precision": "bf16"}, r"parallel\.precision: checkpoint fp32, now bf16"),
        ({"compile": True}, r"parallel\.compile: checkpoint False, now True"),
        ({"samples": 72}, "train: checkpoint"),
        ({"dropout": 0.1}, "model_settings: checkpoint"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused_by_field(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    run(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        run(tmp_path, **changed)


def test_what_does_not_change_the_result_may_change(tmp_path: Path) -> None:
    first = run(tmp_path)
    again = run(tmp_path, every_steps=1, keep=5, asynchronous=False, timeout_seconds=5)
    assert again.resumed_from_epoch == 3
    assert again.epochs == first.epochs


def flip(best: Path) -> None:
    content = bytearray((best / "__0_0.distcp").read_bytes())
    content[-1] ^= 1
    (best / "__0_0.distcp").write_bytes(content)


def cut(best: Path) -> None:
    os.truncate(best / "__0_0.distcp", 100)


def lose(best: Path) -> None:
    (best / "__0_0.distcp").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "does not have the digest"),
        (cut, "__0_0.distcp has 100 bytes"),
        (lose, "__0_0.distcp cannot be read"),
        (shutil.rmtree, "no folder"),
    ],
)
def test_a_best_checkpoint_that_is_torn_or_gone_is_told(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    spec = small_spec(tmp_path, epochs=12, learning_rate=0.5, patience=3)
    document = train(spec, Workspace(tmp_path / "run"))
    assert document.best_epoch < len(document.epochs)
    best = tmp_path / "run" / "checkpoints" / f"step-{5 * document.best_epoch:08d}"
    damage(best)
    with pytest.raises(CheckpointError, match=message):
        train(spec, Workspace(tmp_path / "run"))


def test_a_state_of_another_version_is_told(tmp_path: Path) -> None:
    run(tmp_path)
    checkpoints = tmp_path / "run" / "checkpoints"
    for folder in checkpoints.glob("step-*"):
        state = json.loads((folder / STATE_FILE).read_text())
        del state["best_step"]
        (folder / STATE_FILE).write_text(json.dumps(state))
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        files = {**manifest.files, STATE_FILE: record_file(folder / STATE_FILE)}
        (folder / MANIFEST_FILE).write_text(manifest.model_copy(update={"files": files}).model_dump_json())
    with pytest.raises(CheckpointError, match=r"another version of Stepworks(?s:.*)no best_step"):
        run(tmp_path)


def test_the_stop_file_ends_training_in_this_process_too(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "run")
    workspace.make()
    workspace.stop_file.touch()
    with pytest.raises(TrainingError, match="stopped after step 1"):
        train(small_spec(tmp_path), workspace)


def test_data_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    spec = small_spec(tmp_path)
    with pytest.raises(StepworksError, match="input to train on is missing"):
        train(spec.model_copy(update={"inputs": {}}), Workspace(tmp_path / "run"))
    with pytest.raises((DataError, StepworksError)):
        run(tmp_path, samples=0)


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0.2), (2, 0.1)])
def test_a_warmup_of_one_step(tmp_path: Path, epochs: int, warmup: float) -> None:
    document = run(tmp_path, epochs=epochs, warmup=warmup)
    assert len(document.epochs) == epochs


def test_a_validation_that_is_not_a_number_ends_training_and_chooses_no_epoch(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="validation_loss is not finite"):
        train(with_model(small_spec(tmp_path), "lost"), Workspace(tmp_path / "run"))


def test_a_disk_that_is_full_at_the_end_is_told_and_may_be_tried_again(tmp_path: Path) -> None:
    spec, workspace = small_spec(tmp_path), Workspace(tmp_path / "run")
    train(spec, workspace)
    workspace.metrics.unlink()  # it is written earlier
    with limited_file_size(1000), pytest.raises(ResourceError, match="Cannot write the model"):
        train(spec, workspace)
    assert not (workspace.model / MODEL_FILE).exists()
    assert train(spec, workspace).resumed_from_epoch == 3


@pytest.mark.parametrize("model", ["too_large", "too_hungry"])
def test_a_model_that_is_too_large_from_the_start_is_out_of_memory_too(tmp_path: Path, model: str) -> None:
    with pytest.raises(TrainingError, match="memory of the device does not suffice"):
        train(with_model(small_spec(tmp_path), model), Workspace(tmp_path / "run"))


def test_the_figure_to_choose_by_is_looked_for_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="validation_loss, validation_accuracy"):
        train(with_model(small_spec(tmp_path, monitor="validation_acuracy"), "classifier"), Workspace(tmp_path / "run"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_validation_data_that_is_empty_is_told_before_training(tmp_path: Path) -> None:
    spec = small_spec(tmp_path)
    Path(spec.inputs["validation"]).write_text(json.dumps({"samples": 0, "seed": 2}))
    with pytest.raises(DataError, match="nothing to validate on"):
        train(spec, Workspace(tmp_path / "run"))
