from pathlib import Path

import pytest
from kfp import dsl

from stepworks.components.training.train.component import train
from stepworks.errors import ResourceError
from stepworks.report.documents import TrainingDocument
from stepworks.training.model_directory import load_model
from stepworks.training.spec import TrainingSpec
from stepworks.training.step import hand_over
from stepworks.training.workspace import Workspace
from tests.unit.training.file_limit import limited_file_size


def test_the_step_leaves_a_model_its_course_and_figures(features: Path, tmp_path: Path) -> None:
    metrics = dsl.Metrics(name="metrics", uri=str(tmp_path / "metrics"))
    train.python_func(
        train_features=dsl.Dataset(name="train", uri=str(features / "train")),
        validation_features=dsl.Dataset(name="validation", uri=str(features / "validation")),
        transform=dsl.Artifact(name="transform", uri=str(features)),
        workspace=str(tmp_path / "checkpoints"),
        run="run-1",
        trained_model=dsl.Model(name="model", uri=str(tmp_path / "model")),
        training=dsl.Artifact(name="training", uri=str(tmp_path / "training")),
        metrics=metrics,
        model_settings={"hidden": [8.0]},
        epochs=2,
        batch_size=256,
        checkpoints={"every_steps": 1.0, "keep": 3.0},
    )
    document = TrainingDocument.read(tmp_path / "training")
    assert len(document.epochs) == 2
    assert metrics.metadata["validation_auc"] == document.epochs[document.best_epoch - 1].validation_auc
    assert load_model(tmp_path / "model").training is False
    assert len(list((tmp_path / "checkpoints" / "run-1" / "checkpoints").glob("step-*"))) >= 3


def test_a_model_that_does_not_fit_the_disk_of_the_step_is_told(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "run")
    workspace.model.mkdir(parents=True)
    (workspace.model / "weights").write_bytes(bytes(2000))
    with limited_file_size(1000), pytest.raises(ResourceError, match="cannot be handed over"):
        hand_over(TrainingSpec(command=["train"]), workspace, tmp_path / "model", tmp_path / "training")
