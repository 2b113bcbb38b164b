"""Process nodes where pods cannot have namespaces of their own, as for users who are not root, and on macOS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, get
from stepworks.kube.api.references import Reference
from testbed.bed import Bed
from testbed.ports import choose_ports
from testbed.settings import Node, Settings
from tests.control_plane.conftest import fresh_namespace, running_bed
from tests.control_plane.testbed.test_process_nodes import ended, log, python, start
from tests.waiting import wait_for

SHARED = Settings(controllers=(), process_nodes=(Node("shared"),), isolation="shared", simulation=False)


@pytest.fixture(scope="module")
def shared_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with running_bed(tmp_path_factory, "shared-bed", SHARED) as bed:
        yield bed


@pytest.fixture
def shared_cluster(shared_bed: Bed) -> Iterator[Cluster]:
    with fresh_namespace(shared_bed.kubeconfig) as cluster:
        yield cluster


def reason(cluster: Cluster, name: str) -> str:
    """Why a pod's container waits."""
    (status,) = get(cluster, Reference("v1", "Pod", name)).get("status", {}).get("containerStatuses") or [{}]
    return str(status.get("state", {}).get("waiting", {}).get("reason", ""))


def test_a_pod_finds_its_volumes_by_the_paths_in_its_command(shared_bed: Bed, shared_cluster: Cluster) -> None:
    cluster = shared_cluster
    create(cluster, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}})
    code = "import sys; print(open(sys.argv[1]).read()); raise SystemExit(4)"
    container = python(code, args=["/etc/settings/a"], volumeMounts=[{"name": "all", "mountPath": "/etc/settings"}])
    start(cluster, "pod", [container], volumes=[{"name": "all", "configMap": {"name": "settings"}}])
    assert ended(cluster, "pod")["exitCode"] == 4
    assert log(shared_bed, cluster, "pod") == "1\n"


def test_two_pods_cannot_have_the_same_port(shared_bed: Bed, shared_cluster: Cluster) -> None:
    (port,) = choose_ports(1)
    server = python(f"import http.server as h; h.test(h.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')")
    server["ports"] = [{"containerPort": port}]
    start(shared_cluster, "first", [server])
    wait_for("it runs", lambda: "Serving HTTP" in log(shared_bed, shared_cluster, "first"))
    start(shared_cluster, "second", [server])
    wait_for("the port is refused", lambda: reason(shared_cluster, "second") == "PortInUse")
    told = shared_bed.kubectl("get", "events", "-n", shared_cluster.namespace, "-o", "jsonpath={.items[*].message}")
    assert f"port {port} is taken by pod {shared_cluster.namespace}/first" in told
    assert "declare another containerPort" in told
