import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    NotFoundError,
    StepworksError,
    TrainingError,
)
from stepworks.reference import resolve
from stepworks.report.documents import TrainingDocument
from stepworks.training.model_directory import load_model
from stepworks.training.predict import predict
from stepworks.training.spec import LoopSettings, ParallelSettings, TrainingSpec
from stepworks.training.tabular import TabularNetwork, build_model, read_rows, stream_rows
from stepworks.training.train import seed_everything, train
from stepworks.training.validation import area_under_curve
from stepworks.training.workspace import Workspace

MODEL = "stepworks.training.tabular:build_model"
DATA = "stepworks.training.tabular:read_rows"
SETTINGS = {"hidden": [16.0], "dropout": 0.1}


def spec(features: Path, *, device: str = "cpu", **loop: object) -> TrainingSpec:
    settings = {
        "epochs": 4,
        "batch_size": 256,
        "learning_rate": 0.02,
        "monitor": "validation_auc",
        **loop,
    }
    return TrainingSpec(
        model=MODEL,
        data=DATA,
        model_settings=SETTINGS,
        inputs={name: str(features / name) for name in ("train", "validation")} | {"transform": str(features)},
        loop=LoopSettings(**settings),
        parallel=ParallelSettings(device=device),
    )


def run(spec: TrainingSpec, folder: Path) -> TrainingDocument:
    return train(spec, Workspace(folder))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder / "model").state_dict()


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def losses(document: TrainingDocument) -> list[str]:
    return [epoch.train_loss.hex() for epoch in document.epochs]


def test_training_finds_the_signal_and_the_model_folder_answers(features: Path, tmp_path: Path) -> None:
    document = run(spec(features), tmp_path)
    best = document.epochs[document.best_epoch - 1]
    assert best.validation_auc > 0.7
    assert document.epochs[-1].train_loss < document.epochs[0].train_loss
    predictions = predict(tmp_path / "model", features / "validation")
    assert predictions.columns == ["row_id", "target", "probability"]
    measured = roc_auc_score(predictions["target"], predictions["probability"])
    assert measured == pytest.approx(best.validation_auc, abs=1e-6)


def test_the_same_training_twice_gives_the_same_model(features: Path, tmp_path: Path) -> None:
    first, second = (run(spec(features), tmp_path / name) for name in ("one", "two"))
    assert losses(first) == losses(second)
    assert_same_weights(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("seed", [0, -1, 2**40])
def test_the_seed_is_that_of_each_generator_that_a_checkpoint_keeps(seed: int) -> None:
    drawn = []
    for each in (seed, seed, seed + 1):
        seed_everything(each)
        drawn.append((random.random(), np.random.random(), torch.rand(()).item()))
    assert drawn[0] == drawn[1]
    assert not set(drawn[1]) & set(drawn[2])


TRAIN_SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_train import run, spec
run(spec(Path({features!r})), Path({folder!r}))
"""


@pytest.mark.parametrize("saves", [1, 3])
def test_a_killed_run_resumes_and_ends_bit_equal(features: Path, tmp_path: Path, saves: int) -> None:
    undisturbed = run(spec(features), tmp_path / "undisturbed")
    script = TRAIN_SCRIPT.format(
        here=str(Path(__file__).parent), features=str(features), folder=str(tmp_path / "killed")
    )
    kill_after_checkpoints(script, tmp_path / "killed" / "checkpoints", saves)
    assert not (tmp_path / "killed" / "model").exists()
    resumed = run(spec(features), tmp_path / "killed")
    assert resumed.resumed_from_epoch is not None
    assert resumed.resumed_from_epoch >= saves
    assert losses(resumed) == losses(undisturbed)
    assert_same_weights(tmp_path / "undisturbed", tmp_path / "killed")


def kill_after_checkpoints(script: str, checkpoints: Path, saves: int) -> None:
    """Run the script, and SIGKILL it once its checkpoint number `saves` is there."""
    steps = saves * (2000 // 256)
    process = subprocess.Popen([sys.executable, "-c", WATCHED + script, str(checkpoints), str(steps)])
    assert process.wait(timeout=120) == -signal.SIGKILL


WATCHED = """
import os, signal, sys, threading, time
from pathlib import Path
def watch(folder, step):
    while not (folder / f"step-{step:08d}").exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=watch, args=(Path(sys.argv[1]), int(sys.argv[2])), daemon=True).start()
"""


def test_early_stop_keeps_the_best_epoch(features: Path, tmp_path: Path) -> None:
    document = run(spec(features, epochs=40, patience=2, learning_rate=0.1), tmp_path)
    assert document.stopped_by == "early_stop"
    assert len(document.epochs) == document.best_epoch + 2
    best = max(document.epochs, key=lambda epoch: epoch.validation_auc)
    assert best.epoch == document.best_epoch


def test_a_finished_run_started_again_trains_no_more(features: Path, tmp_path: Path) -> None:
    first = run(spec(features), tmp_path)
    second = run(spec(features), tmp_path)
    assert second.resumed_from_epoch == 4
    assert losses(first) == losses(second)


def test_a_checkpoint_of_other_settings_is_refused(features: Path, tmp_path: Path) -> None:
    run(spec(features), tmp_path)
    with pytest.raises(CheckpointError, match=r"loop\.seed: checkpoint 0, now 5"):
        run(spec(features, seed=5), tmp_path)


def test_the_area_under_the_curve_is_scikit_learns_with_ties_too() -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randint(0, 20, (500,), generator=generator).float()
    labels = (torch.rand(500, generator=generator) < scores / 40).float()
    assert area_under_curve(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_a_category_that_was_never_seen_is_answered(transform: TransformParameters) -> None:
    network = build_model(transform, hidden=[8]).eval()
    assert network(torch.zeros(2, 2), torch.tensor([[0], [3]])).shape == (2,)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"model": "nonsense"}, ConfigurationError, "not of the form"),
        ({"model": "no.such.module:build"}, ConfigurationError, "does not import"),
        ({"model": "stepworks.training.tabular:absent"}, ConfigurationError, "is missing"),
        ({"model": "stepworks.training.predict:ROWS_AT_ONCE"}, ConfigurationError, "is int"),
        ({"model_settings": {"depth": 3}}, ConfigurationError, "depth"),
        ({"model": "builtins:repr", "model_settings": {}}, ConfigurationError, "Received: str"),
        ({"data": "stepworks.nothing:rows"}, ConfigurationError, "data reference"),
    ],
)
def test_a_wrong_reference_is_told_before_training(
    features: Path, tmp_path: Path, changed: dict[str, object], error: type[StepworksError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(spec(features).model_copy(update=changed), tmp_path)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate", "patience"])
def test_a_setting_out_of_range_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        LoopSettings(**{name: 0})


def test_a_batch_larger_than_the_data_is_refused(features: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="5000 samples, 2000 samples"):
        run(spec(features, batch_size=5000), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the CUDA device whose absence is tested")
def test_a_gpu_asked_for_and_absent_is_told(features: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="GPU placement"):
        run(spec(features, device="cuda"), tmp_path)


def test_an_unknown_device_is_refused(features: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tpu"):
        run(spec(features, device="tpu"), tmp_path)


class VectorLoss(TabularNetwork):
    @staticmethod
    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return logits - target


class EndlessLoss(TabularNetwork):
    @staticmethod
    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (logits * target).mean() * float("nan")


def vector_loss(transform: TransformParameters) -> torch.nn.Module:
    return VectorLoss(2, [4])


def endless_loss(transform: TransformParameters) -> torch.nn.Module:
    return EndlessLoss(2, [4])


@pytest.mark.parametrize(
    ("builder", "error", "message"),
    [("vector_loss", StepworksError, "scalar|number"), ("endless_loss", TrainingError, "not finite at step 1")],
)
def test_a_bad_loss_is_told(
    features: Path, tmp_path: Path, builder: str, error: type[StepworksError], message: str
) -> None:
    changed = {"model": f"tests.unit.training.test_train:{builder}", "model_settings": {}}
    with pytest.raises(error, match=message):
        run(spec(features).model_copy(update=changed), tmp_path)


def test_validation_with_one_class_is_told(features: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="one class"):
        area_under_curve(torch.tensor([0.1, 0.2]), torch.tensor([1.0, 1.0]))


def test_a_model_without_features_is_refused() -> None:
    with pytest.raises(TrainingError, match="no features"):
        build_model(TransformParameters(target="late", numeric=(), categorical=()))


@pytest.mark.parametrize("fault", ["absent", "column", "missing value", "empty"])
def test_a_features_file_that_cannot_be_used(
    features: Path, transform: TransformParameters, tmp_path: Path, fault: str
) -> None:
    table = pl.read_parquet(features / "validation")
    path = tmp_path / "features"
    if fault == "column":
        table.drop("rain").write_parquet(path)
    elif fault == "missing value":
        table.with_columns(rain=pl.lit(None, pl.Float32)).write_parquet(path)
    elif fault == "empty":
        table.head(0).write_parquet(path)
    with pytest.raises(DataError, match="encoded table") as caught:
        read_rows(path, transform)
    assert "\n" not in caught.value.received


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no model(?s:.*)an empty folder") as caught:
        load_model(tmp_path)
    assert "transform" not in str(caught.value)  # a model may have none
    (tmp_path / "notes").touch()
    with pytest.raises(NotFoundError, match="notes"):
        load_model(tmp_path)
    with pytest.raises(NotFoundError, match="No such file"):
        load_model(tmp_path / "nowhere")


def test_torn_weights_are_told(features: Path, tmp_path: Path) -> None:
    run(spec(features, epochs=1), tmp_path)
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="cannot be loaded"):
        load_model(tmp_path / "model")


def test_a_reference_gives_what_it_names() -> None:
    assert resolve(MODEL, role="model") is build_model


@pytest.mark.parametrize("read", [read_rows, stream_rows])
def test_a_label_that_is_neither_of_the_two_is_told(
    tmp_path: Path, transform: TransformParameters, read: Callable[..., Any]
) -> None:
    table = {"wind": [0.1, 0.2], "rain": [0.1, 0.2], "carrier": [1, 0], "late": [1, 7]}
    pl.DataFrame(table).write_parquet(tmp_path / "rows")
    with pytest.raises(DataError, match=r"late(?s:.*)7(?s:.*)0 and 1"):
        read(tmp_path / "rows", transform).take(torch.arange(2))
