"""A namespace that serves a model: its registry on a claim, its steps in pods of their own, and its clients."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
from kfp import dsl
from kfp.dsl import Artifact, Model, Output

from stepworks.components.serving.deploy.component import deploy
from stepworks.components.serving.roll_out_canary.component import roll_out_canary
from stepworks.components.serving.serve_version.component import serve_version
from stepworks.errors import ClusterError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, delete, get, list_objects
from stepworks.kube.api.pods import read_log
from stepworks.kube.api.references import Reference, Selection, reference_to
from stepworks.kube.builders.routes import Routes
from stepworks.kube.graph_traffic import GraphTraffic
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import GONE, POD_SUCCEEDED
from stepworks.kube.waiting.wait import wait
from stepworks.kubeflow.component import component
from stepworks.kubeflow.pipeline import Pipeline, claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import placement_of
from stepworks.registry.registry import Metadata, Registry
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import DeploymentDocument, RegistrationDocument, VerdictDocument
from stepworks.serving.kserve.versions import find_version, served_version
from stepworks.serving.manifest import Row, read_package
from stepworks.serving.package import build_package
from testbed.bed import Bed
from tests.control_plane.kube.workloads import allow_steps, connect_as
from tests.control_plane.serving.conftest import claim
from tests.control_plane.step_pod import step_pod
from tests.unit.serving.conftest import write_model, write_raw_table

MODEL = "flights"
STEPS = ("deploy", "roll_out_canary", "serve_version", "compare_answers")
LENIENT = {"margin": 0.1, "ceiling": 0.2}
POLICY = {
    "stages": [10, 50, 100],
    "candidate_requests": 30,
    "window_seconds": 5,
    "window_probes": 40,
    "probe_seconds": 0,
    "warm_up_windows": 0,
    "stage_seconds": 120,
    "judge": {"minimum_requests": 50, "errors": LENIENT, "answers": LENIENT, "latency": False},
}
"""Some hundred probes are enough: this is about where the traffic goes."""
METRICS = {"url": "http://prometheus:9090", "delay_seconds": 2}
BY_PROMETHEUS = {name: value for name, value in POLICY.items() if name != "window_probes"} | {
    "window_seconds": 3,
    "probe_seconds": 0.1,
}


@component("serving")
def register(
    package: Output[Model], verdict: Output[Artifact], registration: Output[Artifact], deployment: Output[Artifact]
) -> None:
    """Stand for the steps before; it is compiled only."""


def compose(policy: dict[str, Any], metrics: dict[str, Any], service: dict[str, Any] | None = None) -> None:
    """Deploy and roll out by KServe."""
    before = place(register(), "small")
    registry = claim_path("registry")
    registration = before.outputs["registration"]
    place(
        deploy(
            package=before.outputs["package"],
            verdict=before.outputs["verdict"],
            registration=registration,
            registry=registry,
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            placement=placement_of("serving", mounts=["registry"]),
            service=service or {},
        ),
        "effects",
        mounts=["registry"],
    )
    place(
        roll_out_canary(
            deployment=before.outputs["deployment"],
            package=before.outputs["package"],
            registration=registration,
            registry=registry,
            policy=policy,
            metrics=metrics,
        ),
        "effects",
        mounts=["registry"],
    )


@pipeline(version="1.0.0")
def judged_by_probes() -> None:
    """Deploy and roll out by recorded rows alone."""
    compose(POLICY, {})


@pipeline(version="1.0.0")
def judged_by_prometheus() -> None:
    """Deploy and roll out by what Prometheus counts."""
    compose(BY_PROMETHEUS, METRICS)


@pipeline(version="1.0.0")
def going_back() -> None:
    """Serve the first version."""
    place(
        serve_version(
            name=MODEL,
            version=1,
            registry=claim_path("registry"),
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            placement=placement_of("serving", mounts=["registry"]),
        ),
        "effects",
        mounts=["registry"],
    )


class Team:
    """A namespace with a registry on a claim, and its steps.

    Attributes:
        cluster: The cluster, with the namespace.
        claim: The claim's folder on this machine.
        environment: Variables of the steps' pods.
        registry: The registry, as this process knows it.
    """

    def __init__(self, bed: Bed, cluster: Cluster, folder: Path, steps: Pipeline = judged_by_probes) -> None:
        self.cluster = cluster
        self.environment: dict[str, str] = {}
        self._steps = steps
        self._folder = folder
        self.claim = claim(bed, cluster, "registry")
        self.registry = Registry(self.claim)
        self._table = write_raw_table(folder / "test.parquet")
        connect_as(cluster, "runner", folder)
        allow_steps(cluster, "runner", *STEPS)

    def register(self, version: int, change: Callable[[Path], None] = lambda _: None) -> Path:
        """Register a version, and write what the steps before deploy hand over; its folder.

        Args:
            version: The version, which the registry counts.
            change: Changes the package.
        """

        def build(package: Path) -> None:
            build_package(write_model(self._folder / f"model-{version}", seed=version), self._table, package)
            change(package)

        return self.register_package(version, build)

    def register_package(self, version: int, build: Callable[[Path], object]) -> Path:
        """Register a version whose package is built by a function."""
        run = self.claim / f"run-{version}"
        package = run / "package"
        run.mkdir()
        build(package)
        metadata = Metadata(run=f"run-{version}", created_by="test")
        model = self.registry.register(MODEL, package, read_package(package).digest, metadata)
        inside = Path("/mnt/registry") / model.directory.relative_to(self.claim)
        RegistrationDocument(
            name=MODEL, version=model.version, uri=str(inside), digest=model.digest, already_registered=False
        ).write(run / "registration")
        VerdictDocument(verdict="pass", reason="It is better.", rules=[]).write(run / "verdict")
        return run

    def step(
        self, task: str, version: int, inputs: list[str], outputs: list[str], steps: Pipeline | None = None
    ) -> str:
        """Run a step in a pod; what it printed."""
        run = f"/mnt/registry/run-{version}"

        def artifact(name: str) -> dict[str, Any]:
            kinds = {"package": "system.Model", "page": "system.HTML", "requests": "system.Dataset"}
            kind = kinds.get(name, "system.Artifact")
            return {"artifacts": [{"name": name, "type": {"schemaTitle": kind}, "uri": f"{run}/{name}"}]}

        pod = step_pod(
            steps or self._steps,
            task,
            claim="registry",
            run=f"run-{version}",
            inputs={name: artifact(name) for name in inputs},
            outputs={name: artifact(name) for name in outputs},
        )
        variables = [{"name": name, "value": value} for name, value in self.environment.items()]
        pod["spec"]["containers"][0]["env"] = variables
        created = create(self.cluster, pod)
        try:
            wait(self.cluster, reference_to(created), until=POD_SUCCEEDED, timeout=240)
            return read_log(self.cluster, "step", tail_lines=200)
        except ClusterError as error:
            error.add_note(read_log(self.cluster, "step", tail_lines=200))
            raise
        finally:
            delete(self.cluster, reference_to(created))
            wait(self.cluster, reference_to(created), until=GONE, timeout=60)

    def deploy(self, version: int) -> DeploymentDocument:
        """Run the step deploy."""
        self.step("deploy", version, ["package", "verdict", "registration"], ["deployment"])
        return self.deployment(version)

    def deployment(self, version: int) -> DeploymentDocument:
        """What the step that deploys a version wrote."""
        return DeploymentDocument.read(self.claim / f"run-{version}" / "deployment")

    def go_back(self) -> DeploymentDocument:
        """Run the step serve_version for the first version."""
        self.step("serve-version", 1, [], ["deployment"], going_back)
        return DeploymentDocument.read(self.claim / "run-1" / "deployment")

    def roll_out(self, version: int) -> CanaryDocument:
        """Run the step roll_out_canary."""
        try:
            self.step("roll-out-canary", version, ["deployment", "package", "registration"], ["canary", "page"])
        finally:
            assert (self.claim / f"run-{version}" / "page").is_file()
        return self.canary(version)

    def canary(self, version: int) -> CanaryDocument:
        """What the step roll_out_canary wrote."""
        return CanaryDocument.read(self.claim / f"run-{version}" / "canary")

    def versions(self) -> list[str]:
        """The InferenceServices that there are."""
        found = list_objects(self.cluster, Selection("serving.kserve.io/v1beta1", "InferenceService"))
        return [each["metadata"]["name"] for each in found]

    def try_with_all_traffic(self, version: int) -> None:
        """Leave what a roll-out has made that was killed when the candidate had all traffic."""
        service = find_version(self.cluster, MODEL, version)
        assert service
        route = served_version(version, service, self.claim / f"run-{version}" / "package").route
        GraphTraffic(self.cluster, MODEL, mode="Standard").send(Routes(route, trial=route.name))

    def steps_of_the_graph(self) -> list[Manifest]:
        """Where the router sends requests."""
        graph = get(self.cluster, Reference("serving.kserve.io/v1alpha1", "InferenceGraph", MODEL))
        steps: list[Manifest] = graph["spec"]["nodes"]["root"]["steps"]
        return steps


class Clients:
    """Ask the model at its address, row after row, from beginning to end."""

    def __init__(self, team: Team, rows: Sequence[Row], url: str = "", host: str = "") -> None:
        service = None if url else get(team.cluster, Reference("v1", "Service", MODEL))
        self._url = f"http://{service['spec']['clusterIP']}" if service else url
        self._headers = {"Host": host} if host else {}
        whole = [row for row in rows if None not in row.values()]
        self._bodies = itertools.cycle([_body(row) for row in whole])
        self._ended = threading.Event()
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(0.02):
            try:
                answer = httpx.post(
                    self._url, json=next(self._bodies), headers=self._headers, timeout=30, trust_env=False
                )
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                continue
            if answer.status_code == httpx.codes.OK:
                self.answers[answer.json()["model_name"]] += 1
            else:
                self.failures.append(f"{answer.status_code}: {answer.text}")


def _body(row: Row) -> dict[str, Any]:
    datatypes = {name: "BYTES" if isinstance(value, str) else "FP32" for name, value in row.items()}
    return {
        "inputs": [
            {"name": name, "datatype": datatypes[name], "shape": [1, 1], "data": [value]} for name, value in row.items()
        ]
    }
