"""A test bed with KServe, Knative and Traefik as its ingress, on which revisions really answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply
from testbed.bed import Bed
from testbed.settings import Settings
from tests import pod_namespaces
from tests.control_plane.conftest import fresh_namespace, running_bed
from tests.control_plane.jobs import ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and keep the tests of one bed together."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        if pod_namespaces.MISSING:
            item.add_marker(pytest.mark.skip(reason="pods have networks of their own as root on Linux only"))
    items.sort(key=lambda item: getattr(getattr(item, "callspec", None), "params", {}).get("knative_bed", "newer"))


@pytest.fixture(scope="session", params=["newer"])
def knative_bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """KServe's controller, Knative's programs and Traefik, with process nodes."""
    settings = Settings(request.param, controllers=("kserve", "traefik", "knative"), simulation=False)
    with running_bed(tmp_path_factory, f"knative-bed-{request.param}", settings) as started:
        yield started


@pytest.fixture
def knative_cluster(knative_bed: Bed) -> Iterator[Cluster]:
    """A fresh namespace on `knative_bed`, with our runtime."""
    with fresh_namespace(knative_bed.kubeconfig) as made:
        runtime = (ROOT / "cluster" / "serving-runtimes" / "stepworks-onnxruntime.yaml").read_text()
        apply(made, yaml.safe_load(runtime))
        yield made
