"""The compiled step deploy_model_server in pods of its own, without KServe: its servers really answer."""

import itertools
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from kfp import dsl

from stepworks.components.serving.deploy_model_server.component import deploy_model_server
from stepworks.errors import ObjectFailedError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import get
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.model_server import model_server_spec
from stepworks.kube.model_server import deploy_model_server as deploy
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.manifest import Row, Samples, read_package, write_manifest
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.jobs import TARGET
from tests.control_plane.kube.workloads import allow_steps
from tests.control_plane.serving.team import MODEL, Team, register
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(
    pod_namespaces.MISSING,
    reason="a server listens on one port in every pod, which takes a network of its own: as root on Linux only",
)


@pipeline(version="1.0.0")
def without_kserve() -> None:
    """Serve by a Deployment."""
    before = place(register(), "small")
    place(
        deploy_model_server(
            package=before.outputs["package"],
            verdict=before.outputs["verdict"],
            registration=before.outputs["registration"],
            registry=claim_path("registry"),
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            image=image_of("serving"),
            placement=placement_of("serving", mounts=["registry"]),
            service={"ready_seconds": 120, "drain_seconds": 2},
        ),
        "effects",
        mounts=["registry"],
    )


class ServingTeam(Team):
    """A namespace whose steps may do what the docs say that this one needs, and no more."""

    def __init__(self, bed: Bed, cluster: Cluster, folder: Path) -> None:
        super().__init__(bed, cluster, folder, without_kserve)
        allow_steps(cluster, "runner", "deploy_model_server")

    def serve(self, version: int) -> DeploymentDocument:
        """Run the step."""
        self.step("deploy-model-server", version, ["package", "verdict", "registration"], ["deployment"])
        return DeploymentDocument.read(self.claim / f"run-{version}" / "deployment")

    def champion(self) -> int:
        """The registry's champion."""
        model = self.registry.champion(MODEL)
        assert model
        return model.version


class Clients:
    """Ask the model at its address, row after row, and tell by the answers which version gave them."""

    def __init__(self, team: ServingTeam) -> None:
        service = get(team.cluster, Reference("v1", "Service", MODEL))
        self._url = f"http://{service['spec']['clusterIP']}/v2/models/{MODEL}/infer"
        self._recorded = {str(model.version): Samples.read(model.directory) for model in team.registry.versions(MODEL)}
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
        rows = next(iter(self._recorded.values())).rows
        for number in itertools.cycle(range(len(rows))):
            if self._ended.wait(0.02):
                return
            try:
                answer = httpx.post(self._url, json=body(rows[number]), timeout=30, trust_env=False)
                given = answer.raise_for_status().json()["outputs"][0]["data"][0]
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                continue
            self.answers[self._version_of(number, given)] += 1

    def _version_of(self, number: int, given: float) -> str:
        near = [name for name, each in self._recorded.items() if abs(each.probabilities[number] - given) < 1e-5]
        return " or ".join(near) or "neither"


def body(row: Row) -> dict[str, Any]:
    """A request of the protocol; a missing number is null, a missing text is empty."""
    types = {"distance": "FP32", "wind_speed": "FP32", "carrier": "BYTES", "origin": "BYTES"}
    return {
        "inputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": [1, 1],
                "data": ["" if value is None and datatype == "BYTES" else value],
            }
            for name, datatype in types.items()
            for value in [row[name]]
        ]
    }


def record_wrong_answers(package: Path) -> None:
    """Make it the package of a model that answered otherwise, when it was trained, than its server does."""
    manifest, samples = read_package(package), Samples.read(package)
    wrong = [1 - each for each in samples.probabilities]
    (package / "samples.json").write_text(samples.model_copy(update={"answers": wrong}).model_dump_json())
    write_manifest(package, manifest.inputs)


def test_versions_replace_each_other_and_a_bad_one_is_never_asked(
    process_bed: Bed, process_cluster: Cluster, tmp_path: Path
) -> None:
    team = ServingTeam(process_bed, process_cluster, tmp_path)
    team.register(1)
    team.register(2)
    first = team.serve(1)
    assert (first.url, first.candidate_version) == (f"http://flights.{process_cluster.namespace}.svc", "1")
    assert team.champion() == 1
    with Clients(team) as clients:
        wait_for("the first version answers", lambda: clients.answers["1"] > 5)
        team.serve(2)
        assert team.champion() == 2
        wait_for("the second version answers", lambda: clients.answers["2"] > 5)
        before = clients.answers["1"]

        team.register(3, record_wrong_answers)
        with pytest.raises(ObjectFailedError) as caught:
            team.serve(3)
        (log,) = caught.value.__notes__
        assert "The server does not answer as the trained model does" in log
        assert "Version 2 serves as before." in log
        assert re.search(r"each of the \d+ times that it was started", log)
        assert team.champion() == 2
    assert clients.failures == []
    assert clients.answers["1"] == before, "the first one has ended"
    assert set(clients.answers) - {"1 or 2"} == {"1", "2"}


def test_another_server_with_a_path_that_is_wrong_says_so_and_the_one_before_goes_on(process_cluster: Cluster) -> None:
    cluster = process_cluster
    placement = {**TARGET.placement("small").model_dump(exclude_unset=True), "workload": "inference"}
    given = {"image": TARGET.image("cpu"), "command": ["python3", "-m", "http.server", "9000"], "port": 9000}

    def verify(_address: str, _version: str) -> None:
        service = get(cluster, Reference("v1", "Service", "files"))
        answer = httpx.get(f"http://{service['spec']['clusterIP']}:8000/", timeout=10, trust_env=False)
        assert answer.status_code == httpx.codes.OK

    def serve(version: str, path: str, ready_seconds: int) -> None:
        spec = model_server_spec(
            **given,
            version=version,
            placement=placement,
            service_port=8000,
            readiness_path=path,
            ready_seconds=ready_seconds,
            drain_seconds=1,
        )
        deploy(cluster, spec, name="files", run=f"run-{version}", verify=verify)

    serve("1", "/", 60)
    with pytest.raises(WorkloadFailedError) as caught:
        serve("2", "/none-such", 6)
    assert caught.value.cause == "not-ready"
    assert "404" in caught.value.problem
    assert str(caught.value).endswith("Version 1 serves as before.")
