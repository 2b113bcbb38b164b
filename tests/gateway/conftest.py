"""A test bed with KServe and Traefik, whose Gateway takes what clients send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply
from testbed.bed import Bed
from testbed.gateway import TRAEFIK
from testbed.settings import Settings
from tests import pod_namespaces
from tests.control_plane.conftest import fresh_namespace, running_bed
from tests.control_plane.jobs import ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here."""
    for item in items:
        if Path(__file__).parent in item.path.parents and pod_namespaces.MISSING:
            item.add_marker(pytest.mark.skip(reason="pods have networks of their own as root on Linux only"))


@pytest.fixture(scope="session")
def gateway_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """KServe's controller, process nodes, and Traefik with its Gateway."""
    settings = Settings(controllers=("kserve", "traefik"), simulation=False)
    with running_bed(tmp_path_factory, "gateway-bed", settings) as started:
        yield started


@pytest.fixture
def gateway_cluster(gateway_bed: Bed) -> Iterator[Cluster]:
    """A fresh namespace, with our runtime, whose steps may read the Gateway as its owner lets them."""
    with fresh_namespace(gateway_bed.kubeconfig) as made:
        runtime = (ROOT / "cluster" / "serving-runtimes" / "stepworks-onnxruntime.yaml").read_text()
        apply(made, yaml.safe_load(runtime))
        gateways = "gateways.gateway.networking.k8s.io"
        account, kubectl = f"--serviceaccount={made.namespace}:runner", gateway_bed.kubectl
        name = f"read-gateways-{made.namespace}"
        kubectl("-n", TRAEFIK, "create", "role", name, "--verb=get", f"--resource={gateways}")
        kubectl("-n", TRAEFIK, "create", "rolebinding", name, f"--role={name}", account)
        yield made
