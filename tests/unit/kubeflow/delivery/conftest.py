from collections.abc import Iterator
from pathlib import Path

import pytest

from stepworks.kubeflow.delivery import calls
from stepworks.kubeflow.delivery.login import login_of
from stepworks.kubeflow.delivery.server import Kubeflow, connect
from tests.kfp_server import KfpServer, kfp_server

RECORDED = (Path(__file__).parents[3] / "data" / "kfp_recorded_pipeline.yaml").read_text()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    """The test server, empty."""
    with kfp_server() as server:
        yield server


@pytest.fixture
def kubeflow(kfp: KfpServer) -> Kubeflow:
    """The way to it."""
    return connect(login_of(host=kfp.url))


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A folder of compiled files: `rows` in two versions, the later one for two targets."""
    folder = tmp_path / "compiled"
    for version, target in (("0.9.0", "a100"), ("0.10.0", "a100"), ("0.10.0", "mig")):
        path = folder / "rows" / version / f"{target}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {version} for {target}\n{RECORDED}")
    return folder
