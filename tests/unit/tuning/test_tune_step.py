"""The step tune, on a laptop; in a cluster see tests/control_plane/tuning."""

import json
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

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


def test_it_searches_here_and_hands_on_the_best(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Supervisor(tmp_path / "logs", claims={"/mnt/scratch": tmp_path / "scratch"}) as supervisor:
        for name, value in supervisor.environment().items():
            monkeypatch.setenv(name, value)
        tune.python_func(**arguments)
    assert json.loads((tmp_path / "best").read_text()) == {"rate": 0.3, "kind": "a"}
    document = TuningDocument.read(tmp_path / "tuning")
    assert (document.searched_by, len(document.trials)) == ("Optuna", 4)
    assert "all trials are done" in document.ended_by or "nothing more to try" in document.ended_by
    assert "<h1>Tuning</h1>" in (tmp_path / "page.html").read_text()
    search = tmp_path / "scratch" / "r-1" / "tune"
    assert (search / "inputs" / "transform" / "transform.json").read_text() == "{}"
    assert sorted(path.name for path in (search / "trials").iterdir()) == [f"trial-{number}" for number in range(4)]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kind": "MPIJob"}, "one of Job, TrainJob, PyTorchJob"),
        ({"space": {}}, "docs/tuning.md"),
        ({"training": {}}, "exactly one of: model and data, entrypoint, command"),
    ],
)
def test_wrong_parameters_are_told_before_anything_starts(
    arguments: dict[str, Any], changed: dict[str, Any], told: str, tmp_path: Path
) -> None:
    arguments["workspace"] = str(tmp_path / "scratch")
    with pytest.raises(ConfigurationError) as raised:
        tune.python_func(**(arguments | changed))
    assert told in str(raised.value)
