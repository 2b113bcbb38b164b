"""The rules that a placement keeps when it is built: each is broken once, and told with field, value and rule."""

from typing import Any

import pytest
from pydantic import ValidationError

from stepworks.placement.accelerators import MIG_PROFILES, Accelerator, mig_resource
from stepworks.placement.names import check_image
from stepworks.placement.placement import Placement
from stepworks.placement.resources import CpuRange, MemoryRange
from stepworks.placement.scheduling import MatchExpression, PreferredNodeTerm, Toleration

CPU = {"cpu": {"request": "4", "limit": "4"}, "memory": {"request": "16Gi", "limit": "16Gi"}}
TOLERATED = {"node_selector": {"gpu-type": "a100"}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}
GPU = {**CPU, **TOLERATED, "accelerator": {"resource": "nvidia.com/gpu", "count": 4}}
SLICE = {**CPU, **TOLERATED, "accelerator": {"resource": "nvidia.com/mig-1g.10gb", "count": 1}}


def placement(*parts: dict[str, Any], **changed: Any) -> Placement:
    fields: dict[str, Any] = {}
    for part in parts or (CPU,):
        fields |= part
    return Placement.model_validate(fields | changed)


# -------------------------------------------------------------------------------------------------- accelerators


@pytest.mark.parametrize(
    "resource",
    ["nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe", "habana.ai/gaudi", "example.com/npu"],
)
def test_accelerators_of_every_vendor_are_taken(resource: str) -> None:
    accelerator = Accelerator(resource=resource, count=2)
    assert accelerator.mig_profile is None
    assert accelerator.taint_keys == {resource, "gpu"}


@pytest.mark.parametrize(
    "resource", ["gpu", "/gpu", "nvidia.com/", "Nvidia.com/gpu", "nvidia.com/gpu/0", "a b/c", "x/é"]
)
def test_a_malformed_resource_is_refused(resource: str) -> None:
    with pytest.raises(ValidationError, match="resource"):
        Accelerator(resource=resource, count=1)


@pytest.mark.parametrize("count", [0, -1, 0.5, 1.0, "1", True, None])
def test_a_count_is_a_whole_number_above_zero(count: Any) -> None:
    with pytest.raises(ValidationError, match="count"):
        Accelerator(resource="nvidia.com/gpu", count=count)


def test_every_mig_profile_is_a_resource_and_fits_its_gpu() -> None:
    assert set(MIG_PROFILES) == {"a100-40gb", "a100-80gb", "h100-80gb", "h200-141gb"}
    for gpu, profiles in MIG_PROFILES.items():
        memory = int(gpu.rpartition("-")[2].removesuffix("gb"))
        for profile, count in profiles.items():
            assert Accelerator(resource=mig_resource(profile), count=1).mig_profile == profile
            slices = int(profile.partition("g")[0])
            assert slices * count <= 7
            memory_of_slice = int(profile.removesuffix("+me").partition(".")[2].removesuffix("gb"))
            assert memory_of_slice * count <= memory + 3  # 7 times 18 GB is 126, 2 times 71 GB is 142
            assert ("+me" not in profile) or count == 1


def test_the_media_profile_is_named_as_the_device_plugin_names_it() -> None:
    assert mig_resource("1g.10gb+me") == "nvidia.com/mig-1g.10gb.me"
    assert Accelerator(resource="nvidia.com/mig-1g.10gb.me", count=1).mig_profile == "1g.10gb+me"


def test_an_unknown_mig_profile_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"no MIG profile.*a100-40gb: nvidia.com/mig-1g.5gb.*h200-141gb"):
        Accelerator(resource="nvidia.com/mig-1g.11gb", count=1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"accelerator": {"resource": "nvidia.com/mig-1g.10gb", "count": 2}}, "is 2 and must be 1: NCCL cannot join"),
        ({"processes": 2}, r"processes is 2 and must be 1 with nvidia\.com/mig-1g\.10gb"),
    ],
)
def test_a_slice_is_one_device_and_one_process(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        placement(SLICE, **changed)


@pytest.mark.parametrize(
    ("parts", "processes", "environment"),
    [
        ([CPU], 1, {}),
        ([SLICE], 1, {}),
        ([GPU], 4, {"PET_NPROC_PER_NODE": "4"}),
        ([GPU, {"processes": 1}], 1, {}),
        ([GPU, {"processes": 8}], 8, {"PET_NPROC_PER_NODE": "8"}),
        ([CPU, {"processes": 2}], 2, {"PET_NPROC_PER_NODE": "2"}),
    ],
)
def test_a_pod_runs_a_process_for_each_accelerator(parts: list[Any], processes: int, environment: Any) -> None:
    built = placement(*parts)
    assert (built.process_count, built.environment) == (processes, environment)


REQUIRED = {"required": [{"match_expressions": [{"key": "gpu-type", "operator": "In", "values": ["a100"]}]}]}
PREFERRED = {"preferred": [{"weight": 5, "match_expressions": [{"key": "gpu-type", "operator": "Exists"}]}]}


@pytest.mark.parametrize(
    "changed",
    [
        {"node_selector": {}},
        {"tolerations": []},
        {"node_selector": {}, "node_affinity": PREFERRED},
    ],
)
def test_an_accelerator_needs_a_selector_and_tolerations(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"nvidia\.com/gpu needs a node_selector \(or a required node_affinity\)"):
        placement(GPU, **changed)


def test_a_required_affinity_is_a_selector() -> None:
    assert placement(GPU, node_selector={}, node_affinity=REQUIRED).node_affinity.required


@pytest.mark.parametrize(
    ("toleration", "resource", "tolerated"),
    [
        ({"key": "gpu", "value": "true"}, "nvidia.com/gpu", True),
        ({"operator": "Exists"}, "nvidia.com/gpu", True),
        ({"key": "nvidia.com/gpu", "operator": "Exists"}, "nvidia.com/mig-1g.10gb", True),
        ({"key": "amd.com/gpu", "operator": "Exists"}, "amd.com/gpu", True),
        ({"key": "nvidia.com/gpu", "operator": "Exists"}, "amd.com/gpu", False),
        ({"key": "spot", "operator": "Exists"}, "nvidia.com/gpu", False),
    ],
)
def test_one_toleration_is_of_the_accelerators_own_taint(toleration: Any, resource: str, tolerated: bool) -> None:
    fields = {**CPU, "accelerator": {"resource": resource, "count": 1}, "node_selector": {"gpu-type": "x"}}
    if tolerated:
        assert placement(fields, tolerations=[toleration])
    else:
        with pytest.raises(ValidationError, match=f"tolerations has .* and for {resource} one of them must tolerate"):
            placement(fields, tolerations=[toleration])


def test_a_machine_of_vertex_needs_no_node_but_the_name_of_its_accelerator() -> None:
    fields = {**CPU, "accelerator": {"resource": "nvidia.com/gpu", "count": 1}}
    named = {"machine_type": "a2-highgpu-1g", "accelerator_type": "NVIDIA_TESLA_A100"}
    assert placement(fields, vertex=named).vertex
    with pytest.raises(ValidationError, match="accelerator_type is missing"):
        placement(fields, vertex={"machine_type": "a2-highgpu-1g"})


# -------------------------------------------------------------------------------------------------- resources


@pytest.mark.parametrize(
    ("cpu", "memory", "message"),
    [
        (("1", "2"), ("4Gi", "4Gi"), "cpu has the request 1 and the limit 2, and for workload: training"),
        (("2", "2"), ("2Gi", "4Gi"), "memory has the request 2Gi and the limit 4Gi, and for workload: training"),
    ],
)
def test_training_is_guaranteed(cpu: tuple[str, str], memory: tuple[str, str], message: str) -> None:
    ranges = [{"request": request, "limit": limit} for request, limit in (cpu, memory)]
    assert placement(cpu=ranges[0], memory=ranges[1])
    with pytest.raises(ValidationError, match=message):
        placement(workload="training", cpu=ranges[0], memory=ranges[1])


def test_equal_is_equal_in_other_units() -> None:
    ranges = {"cpu": {"request": "2000m", "limit": "2"}, "memory": {"request": "4096Mi", "limit": "4Gi"}}
    assert placement(workload="training", **ranges)


@pytest.mark.parametrize(("limit", "enough"), [("6Gi", True), ("6143Mi", False), ("4Gi", False)])
def test_inference_has_headroom_in_memory(limit: str, enough: bool) -> None:
    memory = {"request": "4Gi", "limit": limit}
    if enough:
        assert placement(workload="inference", memory=memory)
    else:
        with pytest.raises(ValidationError, match=r"workload: inference the limit must be at least 1\.5 times"):
            placement(workload="inference", memory=memory)


@pytest.mark.parametrize(("size", "fits"), [("15Gi", True), ("16Gi", False), ("0", False), ("1.5Gi", False)])
def test_shared_memory_is_below_the_memory_limit(size: str, fits: bool) -> None:
    if fits:
        assert placement(shared_memory=size).shared_memory == size
    else:
        with pytest.raises(ValidationError, match=r"shared_memory"):
            placement(shared_memory=size)


def test_numbers_of_yaml_are_quantities() -> None:
    assert CpuRange.model_validate({"request": 1, "limit": 1.5}) == CpuRange(request="1", limit="1.5")


@pytest.mark.parametrize(
    "build",
    [
        lambda: CpuRange(request="0", limit="1"),
        lambda: CpuRange(request="-1", limit="1"),
        lambda: CpuRange(request="1.5m", limit="1"),
        lambda: CpuRange(request="0.0001", limit="1"),
        lambda: CpuRange(request="1m", limit="0.0015"),
        lambda: MemoryRange(request="1.5Gi", limit="2Gi"),
        lambda: MemoryRange(request="500K", limit="2Gi"),
        lambda: CpuRange.model_validate({"request": True, "limit": "1"}),
        lambda: placement(ephemeral_storage={"request": "20Gi", "limit": "10Gi"}),
    ],
)
def test_a_wrong_quantity_is_refused(build: Any) -> None:
    with pytest.raises(ValidationError):
        build()


@pytest.mark.parametrize(("text", "other"), [("1m", "0.001"), ("1500m", "1.5"), ("1.0m", "0.0010")])
def test_whole_thousandths_of_a_core_are_taken(text: str, other: str) -> None:
    assert CpuRange(request=text, limit=other).is_guaranteed


# -------------------------------------------------------------------------------------------------- scheduling


@pytest.mark.parametrize("effect", ["PreferNoSchedule", "NoExecute"])
def test_an_accelerator_needs_a_toleration_that_lets_pods_be_scheduled(effect: str) -> None:
    halfway = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": effect}
    with pytest.raises(ValidationError, match=rf"tolerations has nvidia.com/gpu \({effect}\).*the effect NoSchedule"):
        placement(GPU, tolerations=[halfway])
    assert placement(GPU, tolerations=[halfway, {"operator": "Exists", "effect": "NoSchedule"}])


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "a", "value": "b"},
        {"key": "a", "value": ""},
        {"key": "a", "operator": "Exists", "effect": "NoExecute", "toleration_seconds": 0},
        {"operator": "Exists"},
        {"operator": "Exists", "effect": "PreferNoSchedule"},
    ],
)
def test_every_form_of_a_toleration_is_taken(fields: dict[str, Any]) -> None:
    assert Toleration.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"value": "b"}, "its operator must be Exists"),
        ({"key": "a"}, "needs a value"),
        ({"key": "a", "operator": "Exists", "value": "b"}, "has no value, and this one has 'b'"),
        ({"key": "a", "value": "b", "effect": "NoSchedule", "toleration_seconds": 5}, "and the effect is NoSchedule"),
        ({"key": "a", "value": "b", "toleration_seconds": 5}, "and the effect is None"),
        ({"key": "", "operator": "Exists"}, "no key of a label"),
        ({"key": "a", "value": "b c"}, "no value of a label"),
        ({"key": "a", "operator": "Equals", "value": "b"}, "operator"),
    ],
)
def test_a_wrong_toleration_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Toleration.model_validate(fields)


@pytest.mark.parametrize(
    ("operator", "values", "right"),
    [
        ("In", ["a", "b"], True),
        ("NotIn", ["a"], True),
        ("Exists", [], True),
        ("DoesNotExist", [], True),
        ("Gt", ["4"], True),
        ("Lt", ["4"], True),
        ("In", [], False),
        ("NotIn", [], False),
        ("Exists", ["a"], False),
        ("DoesNotExist", ["a"], False),
        ("Gt", ["4", "5"], False),
        ("Lt", ["four"], False),
        ("Gt", [], False),
        ("Is", ["a"], False),
    ],
)
def test_an_expression_has_the_values_that_its_operator_takes(operator: str, values: list[str], right: bool) -> None:
    fields = {"key": "gpu-type", "operator": operator, "values": values}
    if right:
        assert MatchExpression.model_validate(fields)
    else:
        with pytest.raises(ValidationError, match="operator"):
            MatchExpression.model_validate(fields)


@pytest.mark.parametrize("weight", [0, 101, 1.5, None])
def test_a_weight_is_between_1_and_100(weight: Any) -> None:
    with pytest.raises(ValidationError, match="weight"):
        PreferredNodeTerm(weight=weight, match_expressions=(MatchExpression(key="a", operator="Exists"),))


def test_a_term_without_expressions_is_refused() -> None:
    with pytest.raises(ValidationError, match="match_expressions"):
        placement(node_affinity={"required": [{"match_expressions": []}]})


def test_a_preemptible_placement_is_tried_again() -> None:
    assert placement(preemptible=True, retry={"count": 3}).preemptible
    with pytest.raises(ValidationError, match="preemptible is true and retry is missing"):
        placement(preemptible=True)


@pytest.mark.parametrize("resource", ["nvidia.com/gpuu", "amd.com/gpus", "gpu.intel.com/gpu", "habana.ai/gaudi2"])
def test_a_misspelt_device_is_told_with_the_names_that_there_are(resource: str) -> None:
    with pytest.raises(ValidationError, match="is not known; of"):
        Accelerator(resource=resource, count=1)


@pytest.mark.parametrize(
    "image",
    ["cpu", "cpu:1", "localhost:5000/cpu:1", "registry.example.com/a/b_c/cpu:0.1.0", "a.b/cpu:1@sha256:" + "0" * 64],
)
def test_what_a_node_can_pull_is_an_image(image: str) -> None:
    assert check_image(image) == image


@pytest.mark.parametrize("image", ["", "registry.example.com/SW/cpu:1", "a b/cpu:1", "cpu:", "cpu@sha256:1", "/cpu:1"])
def test_what_no_node_can_pull_is_told(image: str) -> None:
    with pytest.raises(ValueError, match="no reference of an image"):
        check_image(image)
