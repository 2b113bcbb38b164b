"""Models to package; what they are is that of the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model_servers.servers import PYTHON
from tests.unit.serving.conftest import write_model, write_raw_table
from tests.unit.serving.formats.conftest import write_image_model, write_images


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    assert PYTHON.exists(), "the servers are not installed: run `make test-model-servers`"


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model", seed=1)


@pytest.fixture(scope="session")
def raw_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw_table(tmp_path_factory.mktemp("raw") / "test.parquet")


@pytest.fixture(scope="session")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_model(tmp_path_factory.mktemp("images") / "model")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("pictures"))
