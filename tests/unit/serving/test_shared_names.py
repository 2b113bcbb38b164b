"""Every version of a model is asked by the model's own name behind a Gateway; and still tells which one it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepworks.errors import AlreadyExistsError, ConfigurationError
from stepworks.kube.builders.model_server import build_model_server, model_server_spec
from stepworks.report.documents import DeploymentDocument
from stepworks.report.traffic_splitter import TrafficSplitter
from stepworks.serving.formats.kserve import SERVED, served
from stepworks.serving.kserve.deploy import require_shared_path
from stepworks.serving.kserve.model_servers import ServerVersion
from stepworks.serving.kserve.traffic import splitter_of, without_splitter
from stepworks.serving.kserve.versions import ServedVersion
from stepworks.serving.manifest import ONNXRUNTIME, Manifest
from tests.control_plane.jobs import TARGET

GATEWAY = TrafficSplitter(gateway="gateways/public", host="flights.example.com")


def test_the_server_answers_by_a_second_name_and_tells_its_first(package: Path) -> None:
    command = [sys.executable, "-m", "stepworks.serving.server", "--model-directory", str(package), "--port=0"]
    names = ["--model-name=flights-v2", "--alias=flights"]
    with subprocess.Popen([*command, *names], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            (address,) = re.findall(r"Serving flights-v2 at (http://\S+)", process.stdout.readline())
            inputs = [
                {"name": name, "datatype": datatype, "shape": [1, 1], "data": [value]}
                for name, datatype, value in (
                    ("distance", "FP32", 500),
                    ("wind_speed", "FP32", None),
                    ("carrier", "BYTES", "AA"),
                    ("origin", "BYTES", ""),
                )
            ]
            answers = [
                httpx.post(f"{address}/v2/models/{name}/infer", json={"inputs": inputs}).raise_for_status().json()
                for name in ("flights", "flights-v2")
            ]
            assert [each["model_name"] for each in answers] == ["flights-v2", "flights-v2"]
            assert answers[0]["outputs"] == answers[1]["outputs"]
            assert httpx.get(f"{address}/v2/models/flights-v2/ready").status_code == httpx.codes.OK
            counted = httpx.get(f"{address}/metrics").text
            assert 'stepworks_server_requests_total{model_name="flights-v2"} 2.0' in counted
        finally:
            process.terminate()


def inference_service(version: int, **server: Any) -> dict[str, Any]:
    """An InferenceService that is ready."""
    address = {"url": f"http://flights-v{version}-predictor.team.svc.cluster.local"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": f"flights-v{version}", "namespace": "team"},
        "spec": {"predictor": {"model": server}},
        "status": {"address": address},
    }


def version_of(format_: str, **server: Any) -> ServedVersion:
    """The second version, in a format."""
    manifest = Manifest(inputs=(), files={}, digest="", format=format_)
    return ServedVersion("2", inference_service(2, **server), Path(), manifest)


OWN, SHARED = "/v2/models/flights-v2/infer", "/v2/models/flights/infer"
MLSERVER = {"runtime": "kserve-mlserver", "env": [{"name": "MLSERVER_MODEL_NAME", "value": "flights"}]}


@pytest.mark.parametrize(
    ("version", "path", "shared"),
    [
        (version_of(ONNXRUNTIME), OWN, False),
        (version_of(ONNXRUNTIME, args=["--alias=other"]), OWN, False),
        (version_of(ONNXRUNTIME, args=["--alias=flights"]), OWN, True),
        (version_of("sklearn"), OWN, False),
        (version_of("sklearn", args=["--model_name=flights"]), SHARED, True),
        (version_of("sklearn", runtime="kserve-mlserver"), OWN, False),
        (version_of("sklearn", **MLSERVER), SHARED, True),
        (version_of("triton"), "/v2/models/model/infer", True),
        (version_of("huggingface"), "/openai/v1/completions", True),
    ],
)
def test_where_a_version_is_asked(version: ServedVersion, path: str, shared: bool) -> None:
    assert version.path == path
    assert version.route.url == f"http://flights-v2-predictor.team.svc.cluster.local{path}"
    assert version.is_shared is shared
    require_shared_path(version, TrafficSplitter())
    if shared:
        require_shared_path(version, GATEWAY)
    else:
        with pytest.raises(AlreadyExistsError, match="Behind a Gateway flights-v2 would not be found"):
            require_shared_path(version, GATEWAY)


def test_every_server_that_is_asked_by_name_can_share_one() -> None:
    for ways in SERVED.values():
        for way in ways:
            arguments, environment = way.sharing("flights")
            assert ("{name}" in way.path) == bool(arguments or environment), way.runtime


def deployment_of(*arguments: str) -> ServerVersion:
    """A version by a Deployment, which runs our server or another."""
    placement = {**TARGET.placement("small").model_dump(exclude_unset=True), "workload": "inference"}
    spec = model_server_spec(image="serving:1", version="2", placement=placement, arguments=arguments)
    deployment, _ = build_model_server(spec, name="flights-v2")
    return ServerVersion("2", deployment, Path(), Manifest(inputs=(), files={}, digest="", format=ONNXRUNTIME))


def test_where_a_deployment_is_asked() -> None:
    assert deployment_of("--alias=flights").path == OWN
    assert deployment_of("--another-server").path == SHARED
    assert deployment_of().shared_path == SHARED


def test_what_splits_the_traffic_is_read_from_the_service() -> None:
    service = {"gateway": "gateways/public", "host": "flights.example.com", "max_replicas": 2.0}
    assert splitter_of(service) == GATEWAY
    assert without_splitter(service) == {"max_replicas": 2.0}
    assert splitter_of({"max_replicas": 2}) == TrafficSplitter()


@pytest.mark.parametrize(
    "service",
    [
        {"gateway": "public", "host": "flights.example.com"},
        {"gateway": "gateways/public", "host": "http://flights.example.com"},
        {"gateway": "gateways/public", "host": "*.example.com"},
        {"gateway": "gateways/public"},
        {"host": "flights.example.com"},
    ],
)
def test_a_gateway_that_cannot_be_one_is_refused(service: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="What is to split the traffic is wrong"):
        splitter_of(service)


def test_the_document_of_a_deployment_says_what_splits_its_traffic(tmp_path: Path) -> None:
    given = {"service": "flights", "url": "http://a", "stable_version": None, "candidate_version": "1"}
    document = DeploymentDocument(**given, model_directory="/m", splitter=GATEWAY, plain=True)
    assert DeploymentDocument.read(document.write(tmp_path / "deployment")) == document


def test_a_runtime_of_ones_own_shares_names_as_the_first_of_its_format_does() -> None:
    assert served("sklearn", "our-sklearn").sharing("flights") == (("--model_name=flights",), {})
