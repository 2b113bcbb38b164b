"""The compiled step serve_version where plain Deployments serve a model: real servers, and a Gateway that is played."""

from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from stepworks.components.serving.deploy_model_server.component import deploy_model_server
from stepworks.components.serving.serve_version.component import serve_version
from stepworks.errors import ObjectFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import find, get, list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.builders.model_server import VERSION_LABEL
from stepworks.kube.builders.routes import Routes
from stepworks.kube.gateway_traffic import GatewayTraffic
from stepworks.kubeflow.pipeline import Pipeline, claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of
from stepworks.operations.roles import rules_of
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.kserve.model_servers import ModelServers
from stepworks.serving.manifest import Samples, read_package, write_manifest
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.kube.played_gateway import ROUTE, TRUE, PlayedGateway
from tests.control_plane.kube.workloads import allow
from tests.control_plane.serving.team import MODEL, Team, register

pytestmark = [
    pytest.mark.skipif(
        pod_namespaces.MISSING,
        reason="a server listens on one port in every pod, which takes a network of its own: as root on Linux only",
    ),
    pytest.mark.parametrize("serving_bed", ["newer"], indirect=True),
]
SERVICE: dict[str, Any] = {"ready_seconds": 120, "drain_seconds": 2}


def steps(gateway: dict[str, str], image: str = "serving") -> Pipeline:
    """Deploy by a Deployment, and go back to the first version."""

    @pipeline(version="1.0.0")
    def by_deployments() -> None:
        """Deploy by a Deployment, and go back."""
        before = place(register(), "small")
        service = {**SERVICE, **gateway}
        deployed = deploy_model_server(
            package=before.outputs["package"],
            verdict=before.outputs["verdict"],
            registration=before.outputs["registration"],
            registry=claim_path("registry"),
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            image=image_of("serving"),
            placement=placement_of("serving", mounts=["registry"]),
            service=service,
        )
        place(deployed, "effects", mounts=["registry"])
        back = serve_version(
            name=MODEL,
            version=1,
            registry=claim_path("registry"),
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            image=image and image_of(image),
            placement=placement_of("serving", mounts=["registry"]),
            service=service if image else gateway,
        )
        place(back, "effects", mounts=["registry"])

    return by_deployments


class ServerTeam(Team):
    """A namespace whose steps may do what they need without KServe, and no more."""

    def __init__(self, bed: Bed, cluster: Cluster, folder: Path, pipeline: Pipeline) -> None:
        super().__init__(bed, cluster, folder, pipeline)
        steps = ("deploy_model_server", "serve_version")
        here = [rule for step in steps for where in ("run", "gateway") for rule in rules_of(step, namespace=where)]
        allow(cluster, "runner", here)  # the Gateway is in the same namespace

    def deploy(self, version: int) -> DeploymentDocument:
        """Run the step deploy_model_server."""
        self.step("deploy-model-server", version, ["package", "verdict", "registration"], ["deployment"])
        return self.deployment(version)

    def back(self, pipeline: Pipeline | None = None) -> DeploymentDocument:
        """Run the step serve_version for the first version."""
        self.step("serve-version", 1, [], ["deployment"], pipeline)
        return self.deployment(1)

    def versions(self) -> list[str]:
        """The Deployments that there are."""
        found = list_objects(self.cluster, Selection("apps/v1", "Deployment"))
        return sorted(each["metadata"]["name"] for each in found)

    def champion(self) -> int:
        """The registry's champion."""
        model = self.registry.champion(MODEL)
        assert model
        return model.version


def asked(cluster: Cluster) -> dict[str, int]:
    """The Services that the route sends to, and their weights."""
    (rule,) = get(cluster, ROUTE)["spec"]["rules"]
    return {each["name"]: each["weight"] for each in rule["backendRefs"]}


def answer_wrongly(package: Path) -> None:
    """Let the rows of a registered package be recorded otherwise than its model answers, whose digest stays."""
    samples, inputs = Samples.read(package), read_package(package).inputs
    wrong = [1 - probability for probability in samples.probabilities]
    (package / "samples.json").write_text(samples.model_copy(update={"answers": wrong}).model_dump_json())
    write_manifest(package, inputs)


def test_a_gateway_goes_back_to_a_version_that_is_there_and_to_one_that_has_ended(
    serving_bed: Bed, serving_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = serving_cluster
    gateway = {"gateway": f"{cluster.namespace}/public", "host": "flights.example.com"}
    team = ServerTeam(serving_bed, cluster, tmp_path, steps(gateway))
    with PlayedGateway(serving_bed, cluster).controller(**TRUE):
        team.register(1)
        team.deploy(1)
        # Nothing has traffic yet. The one that is there is taken as it is.
        uid = get(cluster, Reference("apps/v1", "Deployment", "flights-v1"))["metadata"]["uid"]
        served = team.back()
        assert (served.plain, served.candidate_version, served.stable_version) == (True, "1", None)
        assert served.url == "http://flights.example.com:8080"
        assert asked(cluster) == {"flights-v1": 100}
        assert team.champion() == 1
        assert get(cluster, Reference("apps/v1", "Deployment", "flights-v1"))["metadata"]["uid"] == uid

        team.register(2)
        team.deploy(2)
        assert team.versions() == ["flights-v1", "flights-v2"]
        with pytest.raises(ObjectFailedError) as caught:
            team.back(steps(gateway, image=""))
        assert "Plain Deployments serve flights" in str(caught.value.__notes__)

        team.back()  # the candidate that is being tried ends
        assert team.versions() == ["flights-v1"]
        promote(team, cluster, gateway)
        assert team.versions() == ["flights-v2"]

        team.back()  # the version before has ended, and is made anew
        assert asked(cluster) == {"flights-v1": 100}
        assert team.versions() == ["flights-v1"]
        assert find(cluster, Reference("v1", "Service", "flights-v2")) is None
        assert team.champion() == 1


def promote(team: ServerTeam, cluster: Cluster, gateway: dict[str, str]) -> None:
    """Leave what a roll-out leaves that has promoted the second version."""
    team.deploy(2)
    versions = ModelServers(cluster, MODEL)
    second = versions.find(2, team.registry.get(MODEL, 2).directory)
    assert second
    GatewayTraffic(cluster, MODEL, **gateway, settle=0).send(Routes(second.route))
    team.registry.make_champion(MODEL, 2)
    versions.end(1)


def test_a_version_that_answers_otherwise_gets_no_traffic(
    serving_bed: Bed, serving_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = serving_cluster
    gateway = {"gateway": f"{cluster.namespace}/public", "host": "flights.example.com"}
    team = ServerTeam(serving_bed, cluster, tmp_path, steps(gateway))
    with PlayedGateway(serving_bed, cluster).controller(**TRUE):
        team.register(1, answer_wrongly)
        team.register(2)
        promote(team, cluster, gateway)
        with pytest.raises(ObjectFailedError) as caught:
            team.back()
        assert "does not answer as the trained model does" in str(caught.value.__notes__)
        assert asked(cluster) == {"flights-v2": 100}
        assert team.versions() == ["flights-v2"]
        assert team.champion() == 2


def test_without_a_gateway_the_version_takes_the_place_of_the_one_that_serves(
    serving_bed: Bed, serving_cluster: Cluster, tmp_path: Path
) -> None:
    team = ServerTeam(serving_bed, serving_cluster, tmp_path, steps({}))
    team.register(1)
    team.register(2)
    team.deploy(1)
    team.deploy(2)
    assert team.champion() == 2
    assert team.back().url == f"http://flights.{serving_cluster.namespace}.svc"
    assert team.champion() == 1
    assert team.versions() == [MODEL]
    (deployment,) = list_objects(serving_cluster, Selection("apps/v1", "Deployment"))
    assert deployment["spec"]["template"]["metadata"]["labels"][VERSION_LABEL] == "1"
