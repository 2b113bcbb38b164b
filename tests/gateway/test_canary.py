"""Canaries by the weights of an HTTPRoute: the compiled steps, real servers, and a real proxy before them."""

from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from stepworks.components.serving.deploy_model_server.component import deploy_model_server
from stepworks.components.serving.roll_out_canary.component import roll_out_canary
from stepworks.errors import ObjectFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import get, list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.builders.routes import Routes
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.kserve.model_servers import versions_of
from stepworks.serving.kserve.traffic import model_traffic
from stepworks.serving.manifest import Samples, read_package, write_manifest
from testbed.bed import Bed
from testbed.gateway import TRAEFIK
from tests.control_plane.kube.workloads import allow_steps
from tests.control_plane.serving.team import MODEL, POLICY, Clients, Team, compose, register

HOST = "flights.example.com"
BEHIND_GATEWAY: dict[str, Any] = {"gateway": f"{TRAEFIK}/{TRAEFIK}", "host": HOST}


@pipeline(version="1.0.0")
def through_a_gateway() -> None:
    """Deploy and roll out by a Gateway."""
    compose(POLICY, {}, BEHIND_GATEWAY)


class KServeTeam(Team):
    """A namespace whose steps deploy by KServe and roll out by a Gateway."""

    def __init__(self, bed: Bed, cluster: Cluster, folder: Path) -> None:
        super().__init__(bed, cluster, folder, through_a_gateway)


def weights(cluster: Cluster) -> dict[str, int]:
    """The Services that the route sends to, and their weights."""
    route = get(cluster, Reference("gateway.networking.k8s.io/v1", "HTTPRoute", MODEL))
    (rule,) = route["spec"]["rules"]
    return {each["name"]: each["weight"] for each in rule["backendRefs"]}


def give_all_traffic(team: Team, version: int) -> None:
    """Let a version have all traffic on trial."""
    document = team.deployment(version)
    served = versions_of(team.cluster, document).find(version, team.registry.get(MODEL, version).directory)
    assert served
    traffic = model_traffic(team.cluster, MODEL, document.splitter)
    traffic.send(Routes(served.route, trial=served.name))


def answer_wrongly(package: Path) -> None:
    """Let the rows of a package be recorded otherwise than its model answers."""
    samples, inputs = Samples.read(package), read_package(package).inputs
    wrong = [1 - probability for probability in samples.probabilities]
    (package / "samples.json").write_text(samples.model_copy(update={"answers": wrong}).model_dump_json())
    write_manifest(package, inputs)


@pipeline(version="1.0.0")
def through_a_gateway_without_kserve() -> None:
    """Deploy by Deployments and roll out by a Gateway."""
    before = place(register(), "small")
    registry, registration = claim_path("registry"), before.outputs["registration"]
    deployed = deploy_model_server(
        package=before.outputs["package"],
        verdict=before.outputs["verdict"],
        registration=registration,
        registry=registry,
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        image=image_of("serving"),
        placement=placement_of("serving", mounts=["registry"]),
        service={**BEHIND_GATEWAY, "ready_seconds": 120, "drain_seconds": 2},
    )
    place(deployed, "effects", mounts=["registry"])
    rolled_out = roll_out_canary(
        deployment=before.outputs["deployment"],
        package=before.outputs["package"],
        registration=registration,
        registry=registry,
        policy=POLICY,
    )
    place(rolled_out, "effects", mounts=["registry"])


class ServerTeam(Team):
    """A namespace without KServe, whose steps may do what the docs say that they need, and no more."""

    def __init__(self, bed: Bed, cluster: Cluster, folder: Path) -> None:
        super().__init__(bed, cluster, folder, through_a_gateway_without_kserve)
        allow_steps(cluster, "runner", "deploy_model_server", "roll_out_canary")

    def deploy(self, version: int) -> DeploymentDocument:
        """Run the step deploy_model_server."""
        self.step("deploy-model-server", version, ["package", "verdict", "registration"], ["deployment"])
        return self.deployment(version)

    def versions(self) -> list[str]:
        """The Deployments that there are."""
        found = list_objects(self.cluster, Selection("apps/v1", "Deployment"))
        return [each["metadata"]["name"] for each in found]


@pytest.mark.parametrize(("team_of", "suffix"), [(KServeTeam, "-predictor"), (ServerTeam, "")])
def test_a_version_replaces_another_behind_a_gateway_and_a_bad_one_goes_back(
    gateway_bed: Bed, gateway_cluster: Cluster, tmp_path: Path, team_of: type[Team], suffix: str
) -> None:
    team = team_of(gateway_bed, gateway_cluster, tmp_path)
    services = [f"flights-v{version}{suffix}" for version in range(4)]
    team.register(1)
    first = team.deploy(1)
    assert (first.url, first.splitter.host) == (f"http://{HOST}", HOST)
    assert [stage.percent for stage in team.roll_out(1).stages] == [100]
    champion = team.registry.champion(MODEL)
    assert champion
    rows = Samples.read(champion.directory).rows
    with Clients(team, rows, f"{gateway_bed.gateway}/v2/models/{MODEL}/infer", HOST) as clients:
        team.register(2)
        assert team.deploy(2).stable_version == "1"
        assert weights(gateway_cluster) == {services[1]: 100}
        give_all_traffic(team, 2)  # as an attempt has left it that was killed in its last stage
        assert [stage.percent for stage in team.roll_out(2).stages] == [10, 50, 100]
        assert weights(gateway_cluster) == {services[2]: 100}
        assert team.versions() == ["flights-v2"]

        run = team.register(3)
        team.deploy(3)
        answer_wrongly(run / "package")
        with pytest.raises(ObjectFailedError) as caught:
            team.roll_out(3)
        assert "Version 2 serves as before." in str(caught.value.__notes__)
        assert weights(gateway_cluster) == {services[2]: 100}
        assert team.versions() == ["flights-v2"]
    assert clients.failures == []
    assert set(clients.answers) == {"flights-v1", "flights-v2", "flights-v3"}
