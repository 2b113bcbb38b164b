"""Placements on tasks for Vertex AI: what a step asks for, with a machine of its own and without."""

from collections.abc import Callable
from typing import Any

import pytest
from google.cloud import aiplatform_v1
from kfp import dsl

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.vertex.place import place_on_vertex
from stepworks.placement.placement import Placement
from stepworks.placement.target import Target
from tests.unit.kubeflow.vertex.vertex_payloads import custom_job, payload_of, specification_of

MakeTarget = Callable[..., Target]
Compile = Callable[[str, Target], str]

PLACED = 'place(add(a=n), "training")'
ACCOUNT = "trainer@example.iam.gserviceaccount.com"


def job_of(text: str) -> aiplatform_v1.CustomJob:
    return custom_job(payload_of(specification_of(text), "add"))


def test_a_step_without_a_machine_has_limits_and_no_requests(make_target: MakeTarget, compile_tiny: Compile) -> None:
    specification = specification_of(compile_tiny('place(add(a=n), "small", mounts=["data"])', make_target()))
    container = specification["deploymentSpec"]["executors"]["exec-add"]["container"]
    assert container["image"] == "example/cpu:1"
    assert container["resources"] == {
        "cpuLimit": 4.0,
        "memoryLimit": pytest.approx(17.18, abs=0.01),
        "resourceCpuLimit": "4",
        "resourceMemoryLimit": "16Gi",
    }


def test_a_machine_says_what_the_job_gets(make_target: MakeTarget, compile_tiny: Compile) -> None:
    machine: dict[str, Any] = {
        "vertex": {
            "machine_type": "a3-highgpu-8g",
            "accelerator_type": "NVIDIA_H100_80GB",
            "boot_disk": {"type": "pd-standard", "size_gb": 500},
            "service_account": ACCOUNT,
        },
        "accelerator": {"resource": "nvidia.com/gpu", "count": 8},
        "timeout_seconds": 3600,
        "labels": {"team": "vision"},
        "preemptible": True,
        "retry": {"count": 3},
    }
    job = job_of(compile_tiny(PLACED, make_target(machine)))
    (pool,) = job.job_spec.worker_pool_specs
    assert (pool.machine_spec.machine_type, pool.machine_spec.accelerator_count) == ("a3-highgpu-8g", 8)
    assert pool.machine_spec.accelerator_type == aiplatform_v1.AcceleratorType.NVIDIA_H100_80GB
    assert (pool.disk_spec.boot_disk_type, pool.disk_spec.boot_disk_size_gb) == ("pd-standard", 500)
    assert [(each.name, each.value) for each in pool.container_spec.env] == [("PET_NPROC_PER_NODE", "8")]
    assert job.job_spec.service_account == ACCOUNT
    assert job.job_spec.scheduling.timeout.total_seconds() == 3600
    assert job.job_spec.scheduling.strategy == aiplatform_v1.Scheduling.Strategy.SPOT
    assert dict(job.labels) == {"team": "vision"}


def test_a_machine_without_an_accelerator_has_seven_days(make_target: MakeTarget, compile_tiny: Compile) -> None:
    job = job_of(compile_tiny(PLACED, make_target()))
    assert job.job_spec.worker_pool_specs[0].machine_spec == aiplatform_v1.MachineSpec(machine_type="n1-standard-8")
    assert job.job_spec.scheduling.timeout.days == 7


def test_the_task_of_a_custom_job_keeps_its_retry_cache_inputs_and_outputs(
    make_target: MakeTarget, compile_tiny: Compile
) -> None:
    body = 'first = place(add(a=n), "training")\nplace(add(a=first.output, b=2), "small")'
    specification = specification_of(compile_tiny(body, make_target({"retry": {"count": 3}})))
    tasks = specification["root"]["dag"]["tasks"]
    assert tasks["add"]["retryPolicy"]["maxRetryCount"] == 3
    assert tasks["add"]["cachingOptions"] == {}
    assert tasks["add"]["inputs"]["parameters"] == {"a": {"componentInputParameter": "n"}}
    assert tasks["add-2"]["inputs"]["parameters"]["a"] == {
        "taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "add"}
    }
    job = specification["components"]["comp-add"]
    assert set(job["outputDefinitions"]["parameters"]) == {"Output", "gcp_resources"}
    added = [
        name
        for name, definition in job["inputDefinitions"]["parameters"].items()
        if name not in {"a", "b"} and not definition.get("isOptional")
    ]
    assert added == []


def test_the_code_of_a_custom_job_is_as_short_as_any(make_target: MakeTarget, compile_tiny: Compile) -> None:
    container = job_of(compile_tiny(PLACED, make_target())).job_spec.worker_pool_specs[0].container_spec
    assert "the sum" not in container.command[-1]
    assert "return a + b" in container.command[-1]


def test_a_custom_job_installs_what_the_target_says(make_target: MakeTarget, compile_tiny: Compile) -> None:
    target = make_target(install="stepworks==0.1.0")
    command = job_of(compile_tiny(PLACED, target)).job_spec.worker_pool_specs[0].container_spec.command
    assert command[:2] == ["sh", "-ec"]
    assert "'stepworks[cpu-image]==0.1.0'" in command[2]


def test_the_same_step_can_be_a_custom_job_and_none(make_target: MakeTarget, compile_tiny: Compile) -> None:
    body = 'place(add(a=n), "training")\nplace(add(a=n), "small")'
    executors = specification_of(compile_tiny(body, make_target()))["deploymentSpec"]["executors"]
    images = sorted(each["container"]["image"].partition(":")[0] for each in executors.values())
    assert images == ["example/cpu", "gcr.io/ml-pipeline/google-cloud-pipeline-components"]


def test_claims_are_found_below_gcs(make_target: MakeTarget, compile_tiny: Compile) -> None:
    body = (
        "@component('cpu')\ndef read(path: str) -> None:\n    print(path)\n"
        "place(read(path=claim_path('data')), 'small', mounts=['data'])"
    )
    assert "constant: /gcs/bucket/data" in compile_tiny(body, make_target())


def test_a_claim_that_the_target_lacks_is_an_error(make_target: MakeTarget, compile_tiny: Compile) -> None:
    with pytest.raises(ConfigurationError, match="has no claim models"):
        compile_tiny('place(add(a=n), "small", mounts=["models"])', make_target())


def test_a_placement_that_came_from_no_target_is_checked_too(make_target: MakeTarget) -> None:
    fields = {"cpu": {"request": 1, "limit": 1}, "memory": {"request": "1Gi", "limit": "1Gi"}, "queue": "team"}
    with pytest.raises(ConfigurationError, match="with the placement's queue") as caught:
        place_on_vertex(dsl.PipelineTask.__new__(dsl.PipelineTask), Placement.model_validate(fields), make_target())
    assert "Vertex AI cannot express queue" in caught.value.received


@pytest.mark.parametrize(
    ("body", "received"),
    [
        ('kubernetes.set_timeout(place(add(a=n), "small"), 60)', "add"),
        ('kubernetes.add_pod_label(place(add(a=n), "training"), "a", "b")', "add"),
    ],
)
def test_settings_for_kubernetes_are_refused(
    body: str, received: str, make_target: MakeTarget, compile_tiny: Compile
) -> None:
    with pytest.raises(ConfigurationError, match="Kubernetes settings, which Vertex AI refuses") as caught:
        compile_tiny(body, make_target())
    assert caught.value.received == received
