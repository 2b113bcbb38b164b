from collections.abc import Iterator
from pathlib import Path

import pytest

from stepworks.supervisor import ENVIRONMENT_VARIABLE
from tests.unit.kube.api_server import ApiServer, api_server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with api_server() as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig(tmp_path / "kubeconfig")))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
        yield running
