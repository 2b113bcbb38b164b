"""Deploying on Vertex AI: new endpoints and those that exist, traffic, machines, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.cloud import aiplatform_v1
from google_cloud_pipeline_components.container.v1.endpoint.deploy_model import remote_runner
from kfp import dsl

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.kubeflow.vertex.locate_artifact import locate_artifact
from stepworks.placement.target import Target
from tests.unit.kubeflow.vertex.vertex_payloads import deployed_model, payload_of, specification_of

MakeTarget = Callable[..., Target]
Compile = Callable[[str, Target], str]

DEPLOYED = """packaged = place(package_model(), "small")
deploy_on_vertex(packaged.outputs["package"], "late-flights", after=packaged)"""
ENDPOINT = "projects/example/locations/europe-west4/endpoints/7"
ACCOUNT = "server@example.iam.gserviceaccount.com"


def test_a_model_is_deployed_to_an_endpoint_that_exists(make_target: MakeTarget, compile_tiny: Compile) -> None:
    split = {"0": 10, "42": 90}
    target = make_target(endpoint={"name": ENDPOINT, "traffic_split": split, "maximum_replicas": 4})
    specification = specification_of(compile_tiny(DEPLOYED, target))
    importers = [
        each["importer"] for each in specification["deploymentSpec"]["executors"].values() if "importer" in each
    ]
    (endpoint,) = [each for each in importers if each["typeSchema"]["schemaTitle"] == "google.VertexEndpoint"]
    assert endpoint["metadata"] == {"resourceName": ENDPOINT}
    assert endpoint["artifactUri"] == {"constant": f"https://europe-west4-aiplatform.googleapis.com/v1/{ENDPOINT}"}
    assert remote_runner.re.match(remote_runner._ENDPOINT_NAME_TEMPLATE, ENDPOINT)
    assert "endpoint-create" not in specification["root"]["dag"]["tasks"]
    request = deployed_model(payload_of(specification, "model-deploy"))
    assert dict(request.traffic_split) == split
    assert request.deployed_model.dedicated_resources.max_replica_count == 4


def test_the_traffic_of_an_endpoint_that_exists_stays_as_it_is(make_target: MakeTarget, compile_tiny: Compile) -> None:
    specification = specification_of(compile_tiny(DEPLOYED, make_target(endpoint={"name": ENDPOINT})))
    assert dict(deployed_model(payload_of(specification, "model-deploy")).traffic_split) == {}


def test_a_model_is_served_by_the_machine_of_its_role(make_target: MakeTarget, compile_tiny: Compile) -> None:
    machine: dict[str, Any] = {
        "vertex": {"machine_type": "g2-standard-24", "accelerator_type": "NVIDIA_L4", "service_account": ACCOUNT},
        "accelerator": {"resource": "nvidia.com/gpu", "count": 2},
        "retry": {"count": 2},
    }
    specification = specification_of(compile_tiny(DEPLOYED, make_target(machine)))
    model = deployed_model(payload_of(specification, "model-deploy")).deployed_model
    assert model.service_account == ACCOUNT
    assert model.dedicated_resources.machine_spec == aiplatform_v1.MachineSpec(
        machine_type="g2-standard-24", accelerator_type=aiplatform_v1.AcceleratorType.NVIDIA_L4, accelerator_count=2
    )
    tasks = specification["root"]["dag"]["tasks"]
    for name in ("model-upload", "endpoint-create", "model-deploy"):
        assert tasks[name]["retryPolicy"]["maxRetryCount"] == 2
        assert tasks[name]["cachingOptions"] == {}


@pytest.mark.parametrize(
    ("machine", "received"),
    [
        ({"vertex": None}, "no vertex.machine_type"),
        ({"timeout_seconds": 60, "labels": {"team": "a"}}, "timeout_seconds, labels"),
        ({"preemptible": True, "retry": {"count": 1}}, "preemptible"),
    ],
)
def test_what_an_endpoint_cannot_have_is_refused(
    machine: dict[str, Any], received: str, make_target: MakeTarget, compile_tiny: Compile
) -> None:
    with pytest.raises(ConfigurationError, match="no machine that an endpoint") as caught:
        compile_tiny(DEPLOYED, make_target(machine))
    assert caught.value.received == received


def test_a_model_is_deployed_on_vertex_by_a_pipeline_for_vertex(
    make_target: MakeTarget, compile_tiny: Compile, tmp_path: Path
) -> None:
    elsewhere = make_target(backend="kubeflow", claims={})
    with pytest.raises(ConfigurationError, match="by a pipeline for Vertex AI") as caught:
        compile_tiny(DEPLOYED, elsewhere)
    assert caught.value.received == "the target vertex"
    with pytest.raises(ConfigurationError, match="by a pipeline for Vertex AI") as caught:
        load_pipeline(str(tmp_path / "tiny.py")).build(None)
    assert caught.value.received == "a run on this machine"


def test_a_pipeline_knows_what_it_is_built_for(make_target: MakeTarget, compile_tiny: Compile) -> None:
    body = 'place(add(a=n, b=2 if on_vertex() else 3), "small")'
    assert "constant: 2.0" in compile_tiny(body, make_target())
    elsewhere = make_target(backend="kubeflow", claims={})
    assert "constant: 3.0" in compile_tiny(body, elsewhere)


def test_an_artifact_is_located_by_its_address() -> None:
    assert locate_artifact.python_func(dsl.Artifact(uri="gs://bucket/package")) == "gs://bucket/package"
