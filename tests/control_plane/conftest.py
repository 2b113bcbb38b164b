"""Real control planes, and a namespace for each test.

The tests start their own test beds. To run those that need no more than a cluster against one of yours, name its
kubeconfig explicitly: STEPWORKS_TEST_KUBECONFIG=path make test-control-plane. They make namespaces that start with
`stepworks-test-`, and delete them.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepworks.kube.api.cluster import Cluster, connect
from testbed.bed import Bed
from testbed.settings import Generation, Node, Settings, gpu_node

_BEDS = ("kubeflow_bed", "serving_bed", "training_bed", "argo_bed", "process_bed", "team_bed", "empty_bed")
_running: list[Bed] = []
OWN_CLUSTER = os.environ.get("STEPWORKS_TEST_KUBECONFIG")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one bed together, and in one worker of pytest-xdist, so that no bed is started twice."""
    groups = {item: _group(item) for item in items}
    places = {group: place for place, group in enumerate(dict.fromkeys(groups.values()))}
    items.sort(key=lambda item: places[groups[item]])
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Stop the beds of a group after its last test: a bed that nobody uses takes a tenth of a processor."""
    yield
    if nextitem is not None and _group(nextitem) != _group(item):
        while _running:
            _running.pop().stop()


def _group(item: pytest.Item) -> str:
    fixtures = getattr(item, "fixturenames", ())
    name = next((bed for bed in _BEDS if bed in fixtures), str(item.path))
    if {"bed", "cluster"} & set(fixtures):  # the second asks for the first only where it is needed
        name = "bed"
    generation = getattr(getattr(item, "callspec", None), "params", {}).get(name, "")
    return f"{name} {generation}"


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A control plane with nodes that are simulated: one with CPUs, one with GPUs."""
    with running_bed(tmp_path_factory, "bed", Settings(controllers=(), process_nodes=())) as started:
        started.add_simulated_nodes(Node("simulated-cpu"), gpu_node("simulated-gpu"))
        yield started


@pytest.fixture(scope="session")
def process_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A control plane with nodes that really run pods: one with CPUs, one with GPUs."""
    with running_bed(tmp_path_factory, "process-bed", Settings(controllers=(), simulation=False)) as started:
        yield started


@pytest.fixture(scope="session", params=["older", "newer"])
def kubeflow_bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A control plane with JobSet, Trainer, training-operator and KServe, in each generation, and simulated nodes."""
    generation: Generation = request.param
    with running_bed(tmp_path_factory, generation, Settings(generation, process_nodes=())) as started:
        started.add_simulated_nodes(Node("simulated-cpu"), *(gpu_node(f"simulated-gpu-{n}") for n in range(2)))
        yield started


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A fresh namespace on `bed`, or on the cluster that STEPWORKS_TEST_KUBECONFIG names."""
    kubeconfig = Path(OWN_CLUSTER) if OWN_CLUSTER else request.getfixturevalue("bed").kubeconfig
    with fresh_namespace(kubeconfig) as made:
        yield made


@pytest.fixture
def process_cluster(process_bed: Bed) -> Iterator[Cluster]:
    """A fresh namespace on `process_bed`."""
    with fresh_namespace(process_bed.kubeconfig) as made:
        yield made


@pytest.fixture
def kubeflow_cluster(kubeflow_bed: Bed) -> Iterator[Cluster]:
    """A fresh namespace on `kubeflow_bed`."""
    with fresh_namespace(kubeflow_bed.kubeconfig) as made:
        yield made


@contextmanager
def fresh_namespace(kubeconfig: Path) -> Iterator[Cluster]:
    """Make a namespace that is ready for pods, and delete it."""
    from kubernetes import client

    name = f"stepworks-test-{secrets.token_hex(4)}"
    cluster = connect(kubeconfig=kubeconfig, namespace=name)
    core = client.CoreV1Api(cluster.client)
    core.create_namespace({"metadata": {"name": name}})
    try:
        while not core.list_namespaced_service_account(name).items:  # without it pods are refused
            time.sleep(0.05)
        yield cluster
    finally:
        core.delete_namespace(name)


@contextmanager
def running_bed(factory: pytest.TempPathFactory, name: str, settings: Settings) -> Iterator[Bed]:
    """Start a test bed, and stop it."""
    if OWN_CLUSTER:
        pytest.skip("needs a test bed, and STEPWORKS_TEST_KUBECONFIG names a cluster of your own")
    bed = Bed(factory.mktemp(name), settings)
    _running.append(bed)
    try:
        bed.start()
        yield bed
    finally:
        bed.stop()
        if bed in _running:
            _running.remove(bed)
