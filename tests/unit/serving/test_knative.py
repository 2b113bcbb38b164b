"""The mode Knative of the step deploy: how it is asked, and what it does not go with."""

from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.model_revisions import LONGEST_MODEL_NAME, ModelRevisions, check_model_name
from stepworks.placement.storage import Mount
from stepworks.registry.registry import Metadata, Registry
from stepworks.report.documents import DeploymentDocument, VerdictDocument
from stepworks.report.traffic_splitter import TrafficSplitter
from stepworks.serving.knative.deploy import deploy_on_knative
from stepworks.serving.knative.roll_out import refuse_metrics_of_ours
from stepworks.serving.kserve.deploy import ServiceRequest
from stepworks.serving.kserve.traffic import splitter_of, without_splitter
from stepworks.serving.manifest import read_package
from stepworks.serving.rollout.prometheus import PrometheusSource
from stepworks.serving.step import deploy_server
from tests.control_plane.jobs import TARGET

PASS = VerdictDocument(verdict="pass", reason="It is better.", rules=[])
NO_CLUSTER = Cluster(None, "team")
"""Nothing may be asked of it."""


def test_the_mode_travels_to_the_steps_that_follow(tmp_path: Path) -> None:
    service = {"mode": "Knative", "max_replicas": 3}
    assert splitter_of(service) == TrafficSplitter(mode="Knative")
    assert without_splitter(service) == {"max_replicas": 3}
    deployment = DeploymentDocument(
        service="flights",
        url="http://flights-predictor.team.svc",
        stable_version="1",
        candidate_version="2",
        model_directory="/mnt/registry/flights/2/package",
        splitter=splitter_of(service),
    )
    deployment.write(tmp_path / "deployment")
    assert DeploymentDocument.read(tmp_path / "deployment").splitter.mode == "Knative"


@pytest.mark.parametrize(
    ("service", "received"),
    [
        ({"mode": "Serverless"}, "mode"),
        (
            {"mode": "Knative", "gateway": "gateways/public", "host": "flights.example.com"},
            "which splits the traffic itself",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(service: dict[str, Any], received: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        splitter_of(service)
    assert received in str(caught.value)


def test_a_model_server_without_kserve_has_no_mode(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="without KServe has no mode"):
        deploy_server("", "", "", str(tmp_path), run="run-1", image="a/b:1", placement={}, service={"mode": "Knative"})


def test_metrics_that_do_not_tell_revisions_apart_are_refused() -> None:
    refuse_metrics_of_ours(None)
    of_knative = {name: f'sum({name}{{revision="$version"}})' for name in ("requests", "errors")}
    refuse_metrics_of_ours(PrometheusSource(url="http://prometheus:9090", latency="", **of_knative))
    with pytest.raises(ConfigurationError, match="do not tell the revisions of a model apart"):
        refuse_metrics_of_ours(PrometheusSource(url="http://prometheus:9090"))


def test_a_name_that_leaves_no_room_for_the_address_of_a_revision_is_refused_before_the_cluster_is_asked(
    package: Path, tmp_path: Path
) -> None:
    name = "f" * (LONGEST_MODEL_NAME + 1)
    metadata = Metadata(run="run-1", created_by="test")
    model = Registry(tmp_path).register(name, package, read_package(package).digest, metadata)
    mount = Mount(claim="registry", mount_path=str(tmp_path), access_mode="ReadWriteMany")
    request = ServiceRequest("run-1", TARGET.placement("serving"), (mount,), {"mode": "Knative"})
    with pytest.raises(ConfigurationError) as caught:
        deploy_on_knative(NO_CLUSTER, model, PASS, None, request)
    told = str(caught.value)
    assert f"'{name}' (47 characters)" in told
    assert "up to 46 characters" in told
    assert f"latest-{name}-predictor" in told
    with pytest.raises(ConfigurationError, match="too long for revisions of Knative"):
        ModelRevisions(NO_CLUSTER, name)


def test_the_longest_name_has_an_address_of_63_characters() -> None:
    longest = "f" * LONGEST_MODEL_NAME
    check_model_name(longest)
    assert len(f"latest-{longest}-predictor") == 63
