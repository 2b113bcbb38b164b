"""The step tune, on a laptop; in a cluster see tests/control_plane/tuning."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kfp import dsl
from PIL import Image

from stepworks.components.tuning.tune.component import tune
from stepworks.errors import ConfigurationError
from stepworks.report.documents import TuningDocument
from stepworks.supervisor.supervisor import Supervisor

ENTRYPOINT = "tests.unit.tuning.search_entrypoint:train"


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    """The arguments of the step, with artifacts below the test's folder."""
    (tmp_path / "table").write_text("rows")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "transform.json").write_text("{}")
    return {
        "name": "tune",
        "run": "r-1",
        "workspace": "/mnt/scratch",
        "train_features": dsl.Dataset(name="train", uri=str(tmp_path / "table")),
        "validation_features": dsl.Dataset(name="validation", uri=str(tmp_path / "table")),
        "transform": dsl.Artifact(name="transform", uri=str(tmp_path / "folder")),
        "training": {"entrypoint": ENTRYPOINT},
        "space": {
            "rate": {"type": "choice", "values": [0.1, 0.3]},
            "kind": {"type": "choice", "values": ["a", "b"]},
        },
        "objective": {"metric": "loss", "goal": "minimize"},
        "image": "",
        "placement": {"role": "training"},
        "best": str(tmp_path / "best"),
        "tuning": dsl.Artifact(name="tuning", uri=str(tmp_path / "tuning")),
        "page": dsl.HTML(name="page", uri=str(tmp_path / "page.html")),
        "algorithm": "grid",
        "trials": 4,
    }


def search_here(arguments: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Supervisor(folder / "logs", claims={"/mnt/scratch": folder / "scratch"}) as supervisor:
        for name, value in supervisor.environment().items():
            monkeypatch.setenv(name, value)
        tune.python_func(**arguments)


def test_it_searches_here_and_hands_on_the_best(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_here(arguments, tmp_path, monkeypatch)
    assert json.loads((tmp_path / "best").read_text()) == {"rate": 0.3, "kind": "a"}
    document = TuningDocument.read(tmp_path / "tuning")
    assert (document.searched_by, len(document.trials)) == ("Optuna", 4)
    assert document.ended_by == "the algorithm has nothing more to try"
    assert "<h1>Tuning</h1>" in (tmp_path / "page.html").read_text()
    search = tmp_path / "scratch" / "r-1" / "tune"
    assert (search / "inputs" / "transform" / "transform.json").read_text() == "{}"
    assert sorted(path.name for path in (search / "trials").iterdir()) == [f"trial-{number}" for number in range(4)]


def images(path: Path) -> dsl.Dataset:
    """Two images of each of two classes."""
    pixels = [np.full((8, 8, 3), colour, "uint8") for colour in (0, 10, 200, 250)]
    files = [io.BytesIO() for _ in pixels]
    for file, each in zip(files, pixels, strict=True):
        Image.fromarray(each).save(file, "PNG")
    pq.write_table(pa.table({"image": [file.getvalue() for file in files], "label": [0, 0, 1, 1]}), path)
    return dsl.Dataset(name=path.name, uri=str(path))


def test_a_training_without_a_transform_is_searched_for(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del arguments["transform"]
    of_images = {
        "train_features": images(tmp_path / "images"),
        "validation_features": images(tmp_path / "others"),
        "training": {
            "model": "stepworks.training.images:build_model",
            "data": "stepworks.training.images:read_images",
            "model_settings": {"classes": 2, "width": 8, "depth": 1},
            "data_settings": {"classes": 2, "image_size": 8},
            "loop": {"monitor": "validation_loss", "epochs": 1, "batch_size": 2},
        },
        "space": {"learning_rate": {"type": "choice", "values": [0.001, 0.01]}},
        "objective": {"metric": "validation_loss", "goal": "minimize"},
        "trials": 2,
    }
    search_here(arguments | of_images, tmp_path, monkeypatch)
    document = TuningDocument.read(tmp_path / "tuning")
    assert [trial.state for trial in document.trials] == ["succeeded", "succeeded"]
    assert json.loads((tmp_path / "best").read_text())["learning_rate"] in (0.001, 0.01)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kind": "MPIJob"}, "one of Job, TrainJob, PyTorchJob"),
        ({"space": {}}, "docs/tuning.md"),
        ({"training": {}}, "exactly one of: model and data, entrypoint, command"),
        ({"training": {"entrypoint": ENTRYPOINT, "inputs": {"train": "/rows"}}}, "Take inputs out of training"),
        (
            {
                "training": {"model": "a:b", "data": "a:c"},
                "space": {"learning_rate": {"type": "choice", "values": [0.1, 0.3]}},
                "objective": {"metric": "validation_loss", "goal": "minimize"},
                "validation_features": None,
            },
            "Hand the step validation_features",
        ),
    ],
)
def test_wrong_parameters_are_told_before_anything_starts(
    arguments: dict[str, Any], changed: dict[str, Any], told: str, tmp_path: Path
) -> None:
    arguments["workspace"] = str(tmp_path / "scratch")
    with pytest.raises(ConfigurationError) as raised:
        tune.python_func(**(arguments | changed))
    assert told in str(raised.value)
    assert not (tmp_path / "scratch").exists()
