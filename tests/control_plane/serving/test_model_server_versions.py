"""The versions of a model as Deployments of their own, on simulated nodes."""

from __future__ import annotations

from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, find, list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.builders.model_server import build_model_server, model_server_spec
from stepworks.kube.model_server import deploy_model_server
from stepworks.serving.kserve.model_servers import ModelServers
from tests.control_plane.jobs import TARGET
from tests.waiting import wait_for


def spec(version: int) -> Any:
    """A server in one pod."""
    placement = {**TARGET.placement("small").model_dump(exclude_unset=True), "workload": "inference"}
    short = {"ready_seconds": 60, "drain_seconds": 1, "termination_grace_period_seconds": 2}
    return model_server_spec(image=TARGET.image("serving"), version=str(version), placement=placement, **short)


def test_versions_are_told_from_what_has_not_answered_and_from_what_is_not_theirs(cluster: Cluster) -> None:
    for model, version in (("flights", 1), ("flights", 2), ("late-flights", 3)):
        name = f"{model}-v{version}"
        deploy_model_server(cluster, spec(version), name=name, run="run-1", verify=lambda *_: None)
    for each in build_model_server(spec(4), name="flights-v4"):
        apply(cluster, each)  # as a step has left it that was killed
    versions = ModelServers(cluster, "flights")
    assert [versions.has(version) for version in (1, 2, 3, 4)] == [True, True, False, False]
    assert sorted(versions.beside(2)) == ["1", "4"]

    assert versions.end(1)
    assert not versions.has(1)
    assert wait_for("it is gone", lambda: find(cluster, Reference("apps/v1", "Deployment", "flights-v1")) is None)
    services = {each["metadata"]["name"] for each in list_objects(cluster, Selection("v1", "Service"))}
    assert services == {"flights-v2", "late-flights-v3", "flights-v4"}
    assert not versions.end(1)
