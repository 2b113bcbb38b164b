"""The committed file for Vertex AI: loaded as Vertex's client loads it, its requests parsed as Vertex's API does."""

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, aiplatform_v1
from google_cloud_pipeline_components.container.v1.model.upload_model import remote_runner

from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.lint.check import lint_ir
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.kubeflow.vertex.serve import MODEL_NAME
from stepworks.placement.target import Target
from tests.unit.kubeflow.vertex.vertex_payloads import (
    COMPILED,
    custom_job,
    deployed_model,
    payload_of,
    specification_of,
)

SPECIFICATION = specification_of(COMPILED.read_text())
IMAGES = Target.read(COMPILED.parents[3] / "targets" / "vertex.yaml").images


def job(**parameters: object) -> aiplatform.PipelineJob:
    return aiplatform.PipelineJob(
        display_name="late-flights",
        template_path=str(COMPILED),
        pipeline_root="gs://example-bucket/runs",
        parameter_values=parameters,
        project="example",
        location="europe-west4",
        credentials=AnonymousCredentials(),
    )


def test_vertex_client_loads_the_file_and_its_parameters() -> None:
    loaded = job(epochs=2, learning_rate=0.01)
    message = aiplatform_v1.PipelineJob.to_dict(loaded._gca_resource)  # what would be sent
    assert message["pipeline_spec"]["pipelineInfo"]["name"] == "tabular-train-and-deploy"
    assert message["runtime_config"]["parameter_values"] == {"epochs": 2, "learning_rate": 0.01}
    assert loaded.job_id.startswith("tabular-train-and-deploy-")


def test_vertex_client_refuses_a_parameter_that_is_none() -> None:
    with pytest.raises(ValueError, match="epoch is not found"):
        job(epoch=2)


def test_training_is_a_custom_job_on_the_machine_of_its_placement() -> None:
    message = custom_job(payload_of(SPECIFICATION, "train"))
    assert message.display_name == "train"
    (pool,) = message.job_spec.worker_pool_specs
    assert pool.machine_spec == aiplatform_v1.MachineSpec(
        machine_type="a2-highgpu-1g",
        accelerator_type=aiplatform_v1.AcceleratorType.NVIDIA_TESLA_A100,
        accelerator_count=1,
    )
    assert pool.disk_spec == aiplatform_v1.DiskSpec(boot_disk_type="pd-ssd", boot_disk_size_gb=200)
    assert (pool.replica_count, pool.container_spec.image_uri) == (1, IMAGES["gpu"])
    scheduling = message.job_spec.scheduling
    assert scheduling.timeout.total_seconds() == 86400
    assert scheduling.strategy == aiplatform_v1.Scheduling.Strategy.STANDARD


def test_the_custom_job_runs_the_code_of_the_step_with_its_inputs() -> None:
    container = custom_job(payload_of(SPECIFICATION, "train")).job_spec.worker_pool_specs[0].container_spec
    assert list(container.args) == ["--executor_input", "{{$.json_escape[1]}}", "--function_to_execute", "train"]
    *_, launcher, code = container.command
    assert "_KFP_RUNTIME" in launcher
    assert "def train(" in code
    assert ast.get_docstring(next(node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef))) is None


def test_checkpoints_of_a_run_are_in_a_folder_of_its_own_in_the_bucket() -> None:
    inputs = SPECIFICATION["root"]["dag"]["tasks"]["train"]["inputs"]["parameters"]
    given = {name: inputs[name]["runtimeValue"]["constant"] for name in ("workspace", "run")}
    assert given == {"workspace": "/gcs/example-bucket/stepworks/checkpoints", "run": "{{$.pipeline_job_uuid}}"}


def test_the_model_is_uploaded_with_the_container_that_serves_it() -> None:
    importer = SPECIFICATION["deploymentSpec"]["executors"]["exec-importer"]["importer"]
    artifact = {"uri": "gs://example-bucket/runs/package", "metadata": importer["metadata"]}
    executor_input = {"inputs": {"artifacts": {"unmanaged_container_model": {"artifacts": [artifact]}}}}
    payload = payload_of(SPECIFICATION, "model-upload", model_name="late-flights")
    request = remote_runner.append_unmanaged_model_artifact_into_payload(json.dumps(executor_input), payload)
    model = aiplatform_v1.Model.from_json(json.dumps(request), ignore_unknown_fields=False)
    assert (model.display_name, model.artifact_uri) == ("late-flights", "gs://example-bucket/runs/package")
    assert model.container_spec == aiplatform_v1.ModelContainerSpec(
        image_uri=IMAGES["serving"],
        command=["python", "-m", "stepworks.kubeflow.vertex.serve"],
        health_route="/v2/health/ready",
        predict_route=f"/v2/models/{MODEL_NAME}/infer",
    )


def test_the_model_gets_all_traffic_of_a_new_endpoint() -> None:
    request = deployed_model(payload_of(SPECIFICATION, "model-deploy"))
    assert (request.endpoint, request.deployed_model.model) == ("the-endpoint", "the-model")
    assert dict(request.traffic_split) == {"0": 100}
    assert request.deployed_model.dedicated_resources == aiplatform_v1.DedicatedResources(
        machine_spec=aiplatform_v1.MachineSpec(machine_type="n1-standard-2"), min_replica_count=1, max_replica_count=2
    )
    created = aiplatform_v1.Endpoint.from_json(
        json.dumps(payload_of(SPECIFICATION, "endpoint-create", model_name="late-flights"))
    )
    assert created.display_name == "late-flights"


def test_nothing_is_deployed_before_the_model_is_registered_which_the_gate_can_refuse() -> None:
    tasks = SPECIFICATION["root"]["dag"]["tasks"]
    assert "register-model" in tasks["locate-artifact"]["dependentTasks"]
    assert tasks["endpoint-create"]["dependentTasks"] == ["register-model"]
    assert tasks["model-deploy"]["dependentTasks"] == ["endpoint-create", "model-upload"]
    assert not {"deploy", "roll-out-canary"} & set(tasks)


def test_models_and_endpoints_are_made_where_the_run_is() -> None:
    for name in ("model-upload", "endpoint-create"):
        location = SPECIFICATION["root"]["dag"]["tasks"][name]["inputs"]["parameters"]["location"]
        assert location == {"runtimeValue": {"constant": "{{$.pipeline_google_cloud_location}}"}}


def test_a_pipeline_without_custom_jobs_is_known_as_one_for_vertex(
    make_pipeline: Callable[[str], Pipeline], tmp_path: Path
) -> None:
    tiny = make_pipeline('@pipeline(version="1.0.0")\ndef tiny():\n    place(add(a=1, b=2), "small")\n')
    target = Target.read(COMPILED.parents[3] / "targets" / "vertex.yaml")
    path = tmp_path / "vertex.yaml"
    path.write_text(compile_pipeline(tiny, target).text)
    ir = read_ir(path)
    assert ir.backend == "vertex"
    assert [finding.rule for finding in lint_ir(ir) if finding.severity.rank >= Severity.WARNING.rank] == []
