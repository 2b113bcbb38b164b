"""The steps that serve, under a token of their ServiceAccount: the Role of each is enough, and no rule of it is idle.

The servers are simulated, so what the steps ask them is left out, and what they ask the API server is all there. What
takes KEDA, a metrics API or Knative is in tests/autoscaling and tests/knative, where the same Roles are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from stepworks.errors import StepworksError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, create, find, get
from stepworks.kube.api.references import Reference, reference_to
from stepworks.kube.builders.inference_service import InferenceServiceSpec
from stepworks.kube.builders.model_server import SERVER_LABEL, ModelServerSpec
from stepworks.kube.builders.routes import Route, Routes
from stepworks.kube.gateway_checks import refuse_route
from stepworks.kube.gateway_traffic import GatewayTraffic
from stepworks.kube.graph_traffic import GraphTraffic
from stepworks.kube.model_service import deploy_inference_service
from stepworks.kube.model_traffic import ModelTraffic
from stepworks.operations.permissions import When
from stepworks.registry.registry import Metadata, Registry
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.kserve.backend import ClusterBackend
from stepworks.serving.kserve.clients import clients_on_kserve
from stepworks.serving.kserve.model_servers import ModelServers
from stepworks.serving.kserve.serve import make_champion_alone
from stepworks.serving.kserve.versions import InferenceServices, Versions
from stepworks.serving.manifest import read_package
from stepworks.serving.package import build_package
from testbed.bed import Bed
from tests.control_plane.cluster.restricted import Step, while_a_pod_ends, while_deleted
from tests.control_plane.conftest import fresh_namespace
from tests.control_plane.jobs import ROOT
from tests.control_plane.kube import test_model_server as plain
from tests.control_plane.kube.test_gateway_traffic import HOST, TRUE, Gateways, service
from tests.control_plane.kube.workloads import pod_template
from tests.control_plane.serving.conftest import onnx_spec
from tests.unit.serving.conftest import write_model, write_raw_table
from tests.waiting import wait_for

Sized = TypeVar("Sized", InferenceServiceSpec, ModelServerSpec)
MODEL, RUN, SECONDS = "flights", "run-1", 60.0
ELSEWHERE: tuple[When, ...] = ("knative", "autoscaling", "custom-metric", "keda")


def spec(outcome: str = "running", uri: str = "gs://models/flights/1") -> InferenceServiceSpec:
    """A version whose pods come to an outcome."""
    given = onnx_spec(uri)
    annotations = {"testbed.stepworks.dev/outcome": outcome}
    return given.model_copy(update={"placement": given.placement.model_copy(update={"annotations": annotations})})


def too_large(given: Sized) -> Sized:
    """The same in pods of which one has room."""
    cpu = given.placement.cpu.model_copy(update={"request": "20", "limit": "20"})
    return given.model_copy(update={"placement": given.placement.model_copy(update={"cpu": cpu})})


def serve(
    cluster: Cluster, version: int, given: InferenceServiceSpec, run: str = RUN, seconds: float = SECONDS
) -> None:
    """Deploy a version as the step does."""
    with suppress(WorkloadFailedError):
        deploy_inference_service(cluster, given, name=f"{MODEL}-v{version}", run=run, timeout=seconds)


class Present(Gateways):
    """A Gateway beside Services of which KServe has made some already."""

    def __init__(self, bed: Bed, cluster: Cluster) -> None:
        self.bed, self.cluster, self.said = bed, cluster, []
        for name in (f"{MODEL}-v1-predictor", f"{MODEL}-v2-predictor"):
            if find(cluster, Reference("v1", "Service", name)) is None:
                create(cluster, service(name))
        own = {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}}
        self.make_gateway("public", allowedRoutes={"namespaces": {"from": "Selector", "selector": own}})


@contextmanager
def split(step: Step, *, by_gateway: bool) -> Iterator[Callable[..., ModelTraffic]]:
    """What splits the traffic: an InferenceGraph, or a Gateway whose controller is played."""
    if not by_gateway:
        yield lambda **more: GraphTraffic(step.cluster, MODEL, mode="Standard", timeout=SECONDS, **more)
        return
    gateways = Present(step.bed, step.admin)
    where = {"gateway": f"{step.admin.namespace}/public", "host": HOST, "settle": 0}
    with gateways.controller(**TRUE):
        yield lambda **more: GatewayTraffic(step.cluster, MODEL, **where, **{"timeout": 20.0, **more})


def route(step: Step, version: int) -> Route:
    """A version as its router knows it."""
    address = f"http://{MODEL}-v{version}-predictor.{step.admin.namespace}.svc.cluster.local"
    return Route(f"{MODEL}-v{version}", f"{address}/v2/models/{MODEL}-v{version}/infer")


def deploy(step: Step) -> None:
    """A version that serves, one that fails for good, is marked, and is made anew by another run; and its traffic."""
    serve(step.cluster, 1, spec())
    serve(step.cluster, 2, spec("image-missing"), seconds=5)
    serve(step.cluster, 2, spec(), run="run-2")
    with split(step, by_gateway=False) as traffic:
        traffic().check()
        traffic().send(Routes(route(step, 1)))
    failing_routers(step)
    step.bed.kubectl("-n", step.admin.namespace, "delete", "inferencegraph", MODEL)
    refused_by_a_gateway(step)


def failing_routers(step: Step) -> None:
    """A change of the routers that is given no time, while one of them has failed: what that printed is read."""
    router = get(step.admin, Reference("apps/v1", "Deployment", MODEL))
    labels = {**router["spec"]["selector"]["matchLabels"], "serving.kserve.io/inferencegraph": MODEL}
    pod = pod_template("Never", labels, {"testbed.stepworks.dev/outcome": "failed"})
    pod["metadata"]["name"] = "failed-router"
    failed = create(step.admin, {"apiVersion": "v1", "kind": "Pod", **pod})
    wait_for("it has failed", lambda: get(step.admin, reference_to(failed))["status"].get("phase") == "Failed")
    with pytest.raises(WorkloadFailedError):
        GraphTraffic(step.cluster, MODEL, mode="Standard", timeout=0).send(Routes(route(step, 1), route(step, 2), 50))


def refused_by_a_gateway(step: Step) -> None:
    """A route that is accepted, and one that nobody accepts, which is taken back."""
    with split(step, by_gateway=True) as traffic:
        traffic().check()
        traffic().send(Routes(route(step, 1)))
        step.bed.kubectl("-n", step.admin.namespace, "delete", "httproute", MODEL)
    where = {"gateway": f"{step.admin.namespace}/public", "host": HOST, "settle": 0}
    with pytest.raises(StepworksError, match="does not accept"):
        GatewayTraffic(step.cluster, MODEL, timeout=1, **where).send(Routes(route(step, 1)))


def serve_version(step: Step) -> None:
    """The same, and the other versions end."""
    deploy(step)
    registry, _ = registered(step)
    with split(step, by_gateway=False) as traffic:
        split_by = traffic()
        split_by.send(Routes(route(step, 2)))

        def promote() -> None:
            split_by.send(Routes(route(step, 1)))
            make_champion_alone(InferenceServices(step.cluster, MODEL), registry, split_by, MODEL, 1, print)

        while_a_pod_ends(step, promote, {"serving.kserve.io/inferencegraph": MODEL})


def registered(step: Step) -> tuple[Registry, Path]:
    """A registry with the first two versions, and the package that both are."""
    package = step.folder / "package"
    if not package.exists():
        table = write_raw_table(step.folder / "test.parquet")
        build_package(write_model(step.folder / "model", seed=1), table, package)
    registry = Registry(step.folder / "registry")
    for run in (1, 2):
        registry.register(MODEL, package, read_package(package).digest, Metadata(run=f"run-{run}", created_by="test"))
    return registry, package


def roll_out_canary(step: Step) -> None:
    """Roll-outs that are taken back and that are promoted, of each kind of version and by each way to split."""
    registry, package = registered(step)
    serve(step.admin, 1, spec())
    for by_gateway in (False, True):
        with split(step, by_gateway=by_gateway) as traffic:
            _roll_out(step, InferenceServices(step.cluster, MODEL), traffic, package, registry)
    for version in (1, 2):
        plain_server(step.admin, version)
    versions = ModelServers(step.cluster, MODEL)
    assert versions.has(1)
    assert versions.beside(1) == ["2"]
    assert versions.end(2)


def _roll_out(
    step: Step, versions: Versions, traffic: Callable[..., ModelTraffic], package: Path, registry: Registry
) -> None:
    serve(step.admin, 2, spec())
    first, second = versions.find(1, package), versions.find(2, package)
    assert first
    assert second
    alone = ClusterBackend(step.cluster, MODEL, traffic(), None, first, None, InferenceServices(step.admin, "none"))
    traffic().entrance("/v2")
    alone.set_percent(100)
    alone.set_percent(0)  # the first version of a model was refused: nothing serves any more
    backend = ClusterBackend(step.cluster, MODEL, traffic(), first, second, None, versions)
    backend.set_percent(10)
    if isinstance(traffic(), GraphTraffic):
        while_a_pod_ends(step, backend.roll_back, {"serving.kserve.io/inferencegraph": MODEL})
    else:
        backend.roll_back()
    serve(step.admin, 2, spec())
    again = traffic()
    backend = ClusterBackend(step.cluster, MODEL, again, first, second, None, versions)
    backend.set_percent(10)
    backend.set_percent(0)
    make_champion_alone(versions, registry, again, MODEL, 1, print)
    if isinstance(again, GraphTraffic):
        failing_routers(step)
    step.bed.kubectl("-n", step.admin.namespace, "delete", "inferencegraph,httproute", MODEL, "--ignore-not-found")


def plain_server(cluster: Cluster, version: int) -> None:
    """A version by a Deployment, behind a Gateway."""
    given = plain.spec(version, replicas=1)
    plain.deploy_model_server(cluster, given, name=f"{MODEL}-v{version}", run=RUN, verify=plain.right)


def compare_answers(step: Step) -> None:
    """Both kinds of versions are looked for; there are none."""
    registry, _ = registered(step)
    for is_plain in (False, True):
        told: dict[str, Any] = {"service": MODEL, "url": "http://a", "plain": is_plain}
        told |= {"candidate_version": "1", "stable_version": None, "model_directory": ""}
        document = DeploymentDocument(**told)
        with pytest.raises(StepworksError, match="is gone"):
            clients_on_kserve(step.cluster, document, registry)


def deploy_model_server(step: Step) -> None:
    """Versions that replace each other, one that is taken back, one that never serves, and one behind a Gateway."""
    say = partial(plain.deploy, step.cluster)
    refuse_route(step.cluster, MODEL)
    say(plain.spec(1))
    while_a_pod_ends(step, lambda: say(plain.spec(4), run="run-4"), {SERVER_LABEL: MODEL})
    say(plain.spec(1), run="run-1b")
    with pytest.raises(StepworksError):
        say(plain.spec(2), plain.wrong_of("2"), run="run-2")
    with pytest.raises(WorkloadFailedError):
        say(too_large(plain.spec(3, replicas=3, ready_seconds=8)), run="run-3")
    with pytest.raises(StepworksError):
        plain.deploy_model_server(step.cluster, plain.spec(1), name="new", run=RUN, verify=plain.wrong_of("1"))
    for reference in (plain.SERVICE, plain.DEPLOYMENT):
        while_deleted(step, reference, lambda: say(plain.spec(1), run="run-4"))
    refused_by_a_gateway(step)


SCENARIOS: dict[str, Callable[[Step], Any]] = {
    each.__name__: each for each in (deploy, serve_version, roll_out_canary, compare_answers, deploy_model_server)
}


@pytest.mark.parametrize("component", SCENARIOS)
def test_a_role_is_enough_and_no_rule_of_it_is_idle(team_bed: Bed, tmp_path: Path, component: str) -> None:
    with fresh_namespace(team_bed.kubeconfig) as admin:
        runtime = (ROOT / "cluster" / "serving-runtimes" / "stepworks-onnxruntime.yaml").read_text()
        apply(admin, yaml.safe_load(runtime))
        step = Step(team_bed, admin, tmp_path, component)
        SCENARIOS[component](step)
        asked = step.asked()
    assert {each for each in asked if each.denied} == set()
    missing = step.granted(ELSEWHERE) - asked
    assert missing == set()
    assert asked - step.granted() == set()
