"""A small model with weights that matter, its raw test table, and its package; servers are shared, they are slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from stepworks.data.transform_parameters import CategoricalFeature, NumericFeature, TransformParameters
from stepworks.serving.package import build_package
from stepworks.training.model_directory import BUILT_IN_DATA, save_model
from stepworks.training.tabular import build_model
from tests.processes import MARK, marked

SETTINGS = {"hidden": [16, 8]}
PARAMETERS = TransformParameters(
    target="late",
    numeric=(
        NumericFeature(name="distance", fill=872.0, mean=1039.9, standard_deviation=733.2),
        NumericFeature(name="wind_speed", fill=10.3, mean=10.5, standard_deviation=5.4),
    ),
    categorical=(
        CategoricalFeature(name="carrier", values=("AA", "B6", "UA")),
        CategoricalFeature(name="origin", values=("EWR", "JFK")),
    ),
)


def write_model(directory: Path, *, seed: int, parameters: TransformParameters = PARAMETERS) -> Path:
    """A network with random weights, larger than those of initialisation so that its answers spread."""
    torch.manual_seed(seed)
    network = build_model(parameters, **SETTINGS)
    with torch.no_grad():
        for weights in network.layers[-1].parameters():
            weights.mul_(5)
    reference = "stepworks.training.tabular:build_model"
    save_model(directory, network.state_dict(), parameters, reference, SETTINGS, BUILT_IN_DATA, data_settings={})
    return directory


def write_raw_table(path: Path, rows: int = 400) -> Path:
    """Raw rows: integers and floats with missing values, texts with missing and never seen ones."""
    random = np.random.default_rng(3)
    missing = random.random((3, rows)) < 0.05
    pl.DataFrame(
        {
            "row_id": np.arange(1000, 1000 + rows, dtype="uint32"),
            "distance": random.integers(80, 5000, rows),
            "wind_speed": random.normal(10, 5, rows),
            "carrier": random.choice(["AA", "B6", "UA", "ZZ"], rows),
            "origin": random.choice(["EWR", "JFK", "LGA"], rows),
            "late": random.random(rows) < 0.2,
        }
    ).with_columns(
        pl.when(pl.Series(~missing[0])).then("distance").alias("distance"),
        pl.when(pl.Series(~missing[1])).then("wind_speed").alias("wind_speed"),
        pl.when(pl.Series(~missing[2])).then("carrier").alias("carrier"),
    ).write_parquet(path)
    return path


@pytest.fixture(scope="session")
def parameters() -> TransformParameters:
    return PARAMETERS


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    return write_model


@pytest.fixture(scope="session")
def make_raw_table() -> Callable[..., Path]:
    return write_raw_table


@pytest.fixture(scope="session")
def raw_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw_table(tmp_path_factory.mktemp("raw") / "test.parquet")


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model", seed=1)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory, model_directory: Path, raw_table: Path) -> Path:
    folder = tmp_path_factory.mktemp("package") / "package"
    build_package(model_directory, raw_table, folder)
    return folder


@pytest.fixture(scope="session")
def champion_package(tmp_path_factory: pytest.TempPathFactory, raw_table: Path) -> Path:
    """The package of another model with the same signature."""
    folder = tmp_path_factory.mktemp("champion")
    build_package(write_model(folder / "model", seed=2), raw_table, folder / "package")
    return folder / "package"


@pytest.fixture
def no_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Fails the test if something that it started is left."""
    monkeypatch.setenv(MARK, str(tmp_path))
    yield lambda: [" ".join(process.cmdline()) for process in marked(tmp_path)]
    assert marked(tmp_path) == []
