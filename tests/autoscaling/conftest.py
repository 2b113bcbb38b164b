"""Test beds with KServe, KEDA and Prometheus Adapter, and a Prometheus that scrapes their pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepworks.kube.api.cluster import Cluster
from testbed.bed import Bed
from testbed.settings import Settings
from tests import pod_namespaces
from tests.autoscaling.monitoring import monitored
from tests.control_plane.conftest import fresh_namespace, running_bed
from tests.prometheus_server import MISSING, WHY_MISSING


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and keep the tests of one bed together."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        if pod_namespaces.MISSING:
            item.add_marker(pytest.mark.skip(reason="pods have networks of their own as root on Linux only"))
        if MISSING:
            item.add_marker(pytest.mark.skip(reason=WHY_MISSING))
    items.sort(key=lambda item: getattr(getattr(item, "callspec", None), "params", {}).get("scaling_bed", "newer"))


@pytest.fixture(scope="session", params=["newer"])
def scaling_bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """KServe, KEDA's operator and metrics server, and Prometheus Adapter, with process nodes."""
    controllers = ("kserve", "keda", "keda-metrics", "prometheus-adapter")
    settings = Settings(request.param, controllers=controllers, simulation=False)
    with (
        running_bed(tmp_path_factory, f"scaling-bed-{request.param}", settings) as started,
        monitored(started),
    ):
        yield started


@pytest.fixture
def scaling_cluster(scaling_bed: Bed) -> Iterator[Cluster]:
    """A fresh namespace on `scaling_bed`."""
    with fresh_namespace(scaling_bed.kubeconfig) as made:
        yield made
