"""What of a placement and of a target Vertex AI cannot express or would refuse, told when the target is read."""

from pathlib import Path
from typing import Any

import pytest
from google.cloud.aiplatform_v1 import AcceleratorType
from pydantic import ValidationError

from stepworks.errors import ConfigurationError
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Claim
from stepworks.placement.target import Target
from stepworks.placement.vertex import Endpoint, VertexSettings
from stepworks.placement.vertex_machines import ACCELERATED_MACHINES, counts_of, known_accelerators, machine
from stepworks.placement.vertex_rules import faults_on_vertex

PLAIN: dict[str, Any] = {"cpu": {"request": "4", "limit": "4"}, "memory": {"request": "16Gi", "limit": "16Gi"}}
A100 = {"machine_type": "a2-highgpu-1g", "accelerator_type": "NVIDIA_TESLA_A100"}
GPU = {"resource": "nvidia.com/gpu", "count": 1}
ON_NODES = {"node_selector": {"gpu": "a100"}, "tolerations": [{"operator": "Exists"}]}
ENDPOINT = "projects/example/locations/europe-west4/endpoints/7"


def faults(**fields: Any) -> dict[str, str]:
    found = faults_on_vertex(Placement.model_validate(PLAIN | fields))
    return {".".join(fault.field): fault.message for fault in found}


def on_machine(machine_type: str, accelerator_type: str, count: int) -> dict[str, str]:
    small = {"cpu": {"request": "1", "limit": "1"}, "memory": {"request": "1Gi", "limit": "1Gi"}}
    vertex = {"machine_type": machine_type, "accelerator_type": accelerator_type}
    return faults(**small, accelerator=GPU | {"count": count}, vertex=vertex)


def test_a_plain_placement_and_one_with_a_machine_are_expressed() -> None:
    assert faults(retry={"count": 2}, cache=False, processes=2) == {}
    everything = {"timeout_seconds": 60, "labels": {"team": "vision-1"}, "preemptible": True, "retry": {"count": 2}}
    assert faults(**everything, accelerator=GPU, vertex=A100) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node_selector", {"gpu-type": "a100"}),
        ("node_affinity", {"required": [{"match_expressions": [{"key": "zone", "operator": "Exists"}]}]}),
        ("tolerations", [{"operator": "Exists"}]),
        ("ephemeral_storage", {"request": "1Gi", "limit": "2Gi"}),
        ("shared_memory", "1Gi"),
        ("secrets", [{"name": "s3", "env": {"id": "ID"}}]),
        ("config_maps", [{"name": "proxy", "env": {"url": "URL"}}]),
        ("image_pull_secrets", ["registry"]),
        ("service_account", "trainer"),
        ("priority_class", "high"),
        ("queue", "team"),
        ("annotations", {"example.com/note": "by hand"}),
    ],
)
@pytest.mark.parametrize("vertex", [None, {"machine_type": "n1-standard-8"}])
def test_a_field_of_kubernetes_is_named_with_vertex(field: str, value: Any, vertex: Any) -> None:
    (found,) = faults(**{field: value}, vertex=vertex).items()
    assert found[0] == field
    assert found[1].startswith(f"Vertex AI cannot express {field}: ")


@pytest.mark.parametrize(
    "fields",
    [{"timeout_seconds": 60}, {"labels": {"team": "a"}}, {"preemptible": True, "retry": {"count": 1}}],
)
def test_a_step_without_a_machine_is_no_custom_job(fields: dict[str, Any]) -> None:
    field = next(iter(fields))
    assert faults(**fields)[field].startswith(f"Vertex AI cannot express {field} for a step without a machine")
    assert faults(**fields, vertex={"machine_type": "n1-standard-8"}) == {}


def test_a_request_below_its_limit_is_refused() -> None:
    found = faults(cpu={"request": "1", "limit": "2"}, memory={"request": "1Gi", "limit": "2Gi"})
    assert found == {
        "cpu.request": "Vertex AI cannot express cpu.request beside a limit: 1 must be 2",
        "memory.request": "Vertex AI cannot express memory.request beside a limit: 1Gi must be 2Gi",
    }


@pytest.mark.parametrize(
    ("cpu", "memory", "vertex", "field", "message"),
    [
        ("97", "1Gi", None, "cpu.limit", "above the 96 vCPUs of the largest machine that Vertex chooses"),
        ("1", "625Gi", None, "memory.limit", "above the 624 GB of the largest machine"),
        ("9", "1Gi", "n1-standard-8", "cpu.limit", "above the 8 vCPUs of n1-standard-8"),
        ("1", "31Gi", "n1-standard-8", "memory.limit", "above the 30 GB of n1-standard-8"),
        ("1", "86Gi", "a2-highgpu-1g", "memory.limit", "above the 85 GB of a2-highgpu-1g"),
    ],
)
def test_more_than_the_machine_has_is_refused(cpu: str, memory: str, vertex: Any, field: str, message: str) -> None:
    found = faults(
        cpu={"request": cpu, "limit": cpu},
        memory={"request": memory, "limit": memory},
        vertex=vertex and {"machine_type": vertex},
    )
    assert list(found) == [field]
    assert message in found[field]


def test_the_size_of_a_machine_that_is_not_known_is_left_to_vertex() -> None:
    assert machine("x9-future-1") is None
    assert faults(vertex={"machine_type": "x9-future-1"}) == {}


def test_labels_are_those_of_google_cloud() -> None:
    found = faults(labels={"example.com/team": "a", "stage": "Prod"}, vertex={"machine_type": "n1-standard-8"})
    assert list(found) == ["labels.example.com/team", "labels.stage"]


@pytest.mark.parametrize(
    ("machine_type", "accelerator_type", "count", "refused"),
    [
        ("a2-highgpu-2g", "NVIDIA_TESLA_A100", 2, ""),
        ("a2-highgpu-2g", "NVIDIA_TESLA_A100", 1, "has 2 NVIDIA_TESLA_A100, and the count is 1"),
        ("a3-highgpu-8g", "NVIDIA_H100_80GB", 8, ""),
        ("g2-standard-24", "NVIDIA_L4", 2, ""),
        ("n1-standard-8", "NVIDIA_TESLA_V100", 8, ""),
        ("n1-standard-16", "NVIDIA_TESLA_V100", 1, "has 2 or 4 or 8 NVIDIA_TESLA_V100, and the count is 1"),
        ("n1-standard-16", "NVIDIA_TESLA_T4", 3, "has 1 or 2 or 4 NVIDIA_TESLA_T4, and the count is 3"),
    ],
)
def test_a_machine_has_certain_counts(machine_type: str, accelerator_type: str, count: int, refused: str) -> None:
    found = on_machine(machine_type, accelerator_type, count)
    assert refused in found.get("accelerator.count", "")
    assert bool(found) is bool(refused)


@pytest.mark.parametrize(
    ("vertex", "message"),
    [
        ({"machine_type": "n1-standard-8", "accelerator_type": "NVIDIA_TESLA_A100"}, "has no NVIDIA_TESLA_A100; those"),
        ({"machine_type": "e2-standard-8", "accelerator_type": "NVIDIA_TESLA_T4"}, "has no NVIDIA_TESLA_T4; those"),
        ({"machine_type": "a2-highgpu-1g", "accelerator_type": "NVIDIA_A100_80GB"}, "are a2-ultragpu-1g, a2-ultragpu"),
        ({"machine_type": "a2-highgpu-1g", "accelerator_type": "NVIDIA_A100"}, "is no accelerator of Vertex AI"),
        ({"machine_type": "A100"}, "machine_type"),
        ({"machine_type": "n1-standard-8", "service_account": "trainer"}, "service_account"),
        ({"machine_type": "n1-standard-8", "boot_disk": {"size_gb": 99}}, "boot_disk.size_gb"),
        ({"machine_type": "n1-standard-8", "boot_disk": {"type": "ssd"}}, "boot_disk.type"),
    ],
)
def test_wrong_settings_of_a_machine_are_refused(vertex: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        VertexSettings.model_validate(vertex)


def test_an_accelerator_is_a_whole_gpu_of_a_machine() -> None:
    mig = {"resource": "nvidia.com/mig-1g.10gb", "count": 1}
    assert "nvidia.com/mig-1g.10gb: it has whole GPUs" in faults(accelerator=mig, vertex=A100)["accelerator.resource"]
    assert "vertex is missing" in faults(accelerator=GPU, **ON_NODES)["accelerator"]
    assert "how many NVIDIA_TESLA_A100" in faults(vertex=A100)["vertex.accelerator_type"]


def test_every_known_accelerator_is_one_of_vertex_and_every_machine_has_its_own() -> None:
    assert {name for name in known_accelerators() if name not in AcceleratorType.__members__} == set()
    for name, accelerated in ACCELERATED_MACHINES.items():
        assert counts_of(name, accelerated.accelerator) == [accelerated.count]


# --------------------------------------------------------------------------------------------------- the target


def target(**changed: Any) -> Target:
    content = {"name": "vertex", "backend": "vertex", "images": {}, "placements": {"plain": PLAIN}, "roles": {}}
    return Target.model_validate(content | changed)


def test_a_fault_is_told_by_its_line_when_the_target_is_read(tmp_path: Path) -> None:
    path = tmp_path / "vertex.yaml"
    path.write_text(
        "name: vertex\nbackend: vertex\nimages: {}\nroles: {}\nplacements:\n  plain:\n"
        "    cpu: {request: 1, limit: 1}\n    queue: team\n    memory: {request: 1Gi, limit: 1Gi}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        Target.read(path)
    assert "vertex.yaml:8: placements.plain.queue: Vertex AI cannot express queue" in caught.value.received


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"claims": {"data": {"claim": "a", "mount_path": "/a", "access_mode": "ReadWriteMany"}}}, "has no claims"),
        ({"backend": "kubeflow", "claims": {"data": {"gcs": "abc", "access_mode": "ReadWriteMany"}}}, "not gcs"),
        ({"backend": "kubeflow", "endpoint": {"maximum_replicas": 3}}, "for the backend vertex only"),
        ({"backend": "vertex", "claims": {}, "training": "TrainJob"}, "Vertex AI has no TrainJobs"),
    ],
)
def test_what_belongs_to_the_other_backend_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        target(**changed)


def test_a_folder_in_cloud_storage_is_below_gcs() -> None:
    assert Claim(gcs="bucket/a/b", access_mode="ReadWriteMany").path == "/gcs/bucket/a/b"


@pytest.mark.parametrize(
    "changed",
    [{"mount_path": "/a"}, {"sub_path": "a"}, {"access_mode": "ReadWriteOnce"}, {"read_only": True}],
)
def test_a_folder_in_cloud_storage_has_nothing_of_a_volume(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Vertex AI mounts its bucket whole"):
        Claim.model_validate({"gcs": "bucket/a", "access_mode": "ReadWriteMany"} | changed)


@pytest.mark.parametrize("gcs", ["gs://bucket", "bucket/", "bucket//a", "Bucket/a", "b", "bucket/../a"])
def test_a_folder_in_cloud_storage_is_bucket_and_path(gcs: str) -> None:
    with pytest.raises(ValidationError, match="gcs"):
        Claim.model_validate({"gcs": gcs, "access_mode": "ReadWriteMany"})


def test_a_new_endpoint_gets_everything_and_one_that_exists_nothing() -> None:
    assert Endpoint().split == {"0": 100}
    assert Endpoint(name=ENDPOINT).split == {}
    assert Endpoint(name=ENDPOINT, traffic_split={"0": 10, "42": 90}).split == {"0": 10, "42": 90}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ENDPOINT, "traffic_split": {"0": 10, "42": 80}}, "must add up to 100"),
        ({"name": ENDPOINT, "traffic_split": {"0": 110, "42": -10}}, "must add up to 100"),
        ({"traffic_split": {"0": 10, "42": 90}}, "an endpoint that is new"),
        ({"minimum_replicas": 2, "maximum_replicas": 1}, "below minimum_replicas, which is 2"),
        ({"name": "7"}, "name"),
    ],
)
def test_a_wrong_endpoint_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Endpoint.model_validate(fields)
