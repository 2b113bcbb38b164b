"""What deploy_model_server refuses before it asks a cluster for anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import ConfigurationError, ServingError
from stepworks.kube.api.cluster import Cluster
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Mount
from stepworks.registry.registry import Metadata, RegisteredModel, Registry
from stepworks.report.documents import VerdictDocument
from stepworks.serving.kserve.deploy import ServiceRequest, service_spec
from stepworks.serving.manifest import read_package
from stepworks.serving.model_server import deploy_as_model_server, server_spec
from stepworks.serving.package import build_package
from tests.unit.kube.test_inference_service import SERVER

PASS = VerdictDocument(verdict="pass", reason="It is better.", rules=[])
FAIL = VerdictDocument(verdict="fail", reason="It is worse.", rules=[])
NO_CLUSTER = Cluster(None, "team")
"""Nothing may be asked of it."""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def model(registry: Registry, package: Path) -> RegisteredModel:
    return registry.register("flights", package, read_package(package).digest, Metadata(run="r", created_by="test"))


@pytest.fixture
def for_triton(registry: Registry, model_directory: Path, raw_table: Path, tmp_path: Path) -> RegisteredModel:
    package = tmp_path / "triton"
    digest = build_package(model_directory, raw_table, package, format="triton").digest
    return registry.register("flights", package, digest, Metadata(run="r", created_by="test"))


def request(folder: Path, **service: Any) -> ServiceRequest:
    mount = Mount(claim="registry", mount_path=str(folder), access_mode="ReadWriteMany")
    return ServiceRequest("r", Placement.model_validate(SERVER), (mount,), service)


@pytest.mark.parametrize(
    ("verdict", "folder", "service", "image", "told"),
    [
        (FAIL, "registry", {}, "team/serving:1", "does not let this run deploy the model"),
        (PASS, "elsewhere", {}, "team/serving:1", "on no claim that the model server could mount"),
        (PASS, "registry", {"placement": {}}, "team/serving:1", "name what the step decides itself"),
        (PASS, "registry", {"replica": 2}, "team/serving:1", "did you mean replicas?"),
        (PASS, "registry", {}, "", "image"),
    ],
)
def test_what_cannot_work_is_refused_before_the_cluster_is_asked(
    registry: Registry,
    model: RegisteredModel,
    tmp_path: Path,
    verdict: VerdictDocument,
    folder: str,
    service: dict[str, Any],
    image: str,
    told: str,
) -> None:
    with pytest.raises((ServingError, ConfigurationError)) as caught:
        deploy_as_model_server(NO_CLUSTER, model, verdict, registry, image, request(tmp_path / folder, **service))
    assert told in str(caught.value)
    assert registry.champion("flights") is None


def test_a_package_for_another_server_needs_that_server(
    registry: Registry, for_triton: RegisteredModel, tmp_path: Path
) -> None:
    with pytest.raises(ServingError, match=r"(?s)not one to serve by our own server.*triton.*onnxruntime"):
        deploy_as_model_server(NO_CLUSTER, for_triton, PASS, registry, "a/b:1", request(tmp_path / "registry"))
    spec = server_spec(for_triton, "a/b:1", request(tmp_path / "registry", command=["tritonserver"]), name="flights")
    assert spec.model
    assert (spec.model.mount_path, spec.model.sub_path) == ("/mnt/models", "flights/1/package/model")
    assert spec.command == ("tritonserver",)


def test_a_verdict_that_was_overridden_is_told_by_what_serves(model: RegisteredModel, tmp_path: Path) -> None:
    asked = request(tmp_path / "registry", annotations={"team/why": "because"})
    spec = server_spec(model, "a/b:1", asked, name="flights")
    assert spec.annotations == {"team/why": "because"}
    overridden = replace(model, metadata=model.metadata.model_copy(update={"override": "no other will do"}))
    told = {"team/why": "because", "stepworks.dev/verdict-override": "no other will do"}
    assert server_spec(overridden, "a/b:1", asked, name="flights").annotations == told
    assert service_spec(overridden, replace(asked, service={})).annotations == {
        "stepworks.dev/verdict-override": "no other will do"
    }
