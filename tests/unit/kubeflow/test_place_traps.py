"""KFP's traps: each as plain kfp has it, and how it is guarded where our code is the door."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from kfp import dsl, kubernetes
from pydantic import ValidationError

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.kubeflow.upstream import run_even_if_upstream_fails
from stepworks.placement.accelerators import Accelerator
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Mount
from stepworks.placement.target import Target

Make = Callable[[str], Pipeline]

PLAIN: dict[str, Any] = {"cpu": {"request": "4", "limit": "4"}, "memory": {"request": "16Gi", "limit": "16Gi"}}
GPU: dict[str, Any] = {
    **PLAIN,
    "accelerator": {"resource": "nvidia.com/gpu", "count": 1},
    "node_selector": {"gpu-type": "a100"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
}


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def plain(text: str = "") -> str:
    """A step of plain kfp."""
    return text


def target() -> Target:
    return Target.model_validate(
        {
            "name": "here",
            "images": {"cpu": "example/cpu:1"},
            "placements": {"plain": PLAIN, "gpu": GPU},
            "roles": {"small": "plain", "training": "gpu"},
        }
    )


def container_of(pipeline: Any) -> dict[str, Any]:
    executors = json_format.MessageToDict(pipeline.pipeline_spec)["deploymentSpec"]["executors"]
    return dict(executors["exec-plain"]["container"])


def test_trap_an_accelerator_count_from_an_int_compiles_in_kfp() -> None:
    @dsl.pipeline
    def theirs(gpus: int = 1) -> None:
        plain().set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(gpus)

    assert "pipelinechannel--gpus" in container_of(theirs)["resources"]["accelerator"]["resourceCount"]


@pytest.mark.parametrize(
    ("parameter", "setter", "setting"),
    [
        ("n: int", "set_accelerator_limit(n)", r"accelerator\.(count|resourceCount)"),
        ("n: int", "set_memory_limit(n)", "resourceMemoryLimit"),
        ("n: float", "set_cpu_request(n)", "resourceCpuRequest"),
    ],
)
def test_guard_a_quantity_from_a_number_is_refused(
    make_pipeline: Make, parameter: str, setter: str, setting: str
) -> None:
    tiny = make_pipeline(
        f"""
@pipeline(version="1.0.0")
def tiny({parameter} = 1):
    \"\"\"Take a quantity from a parameter.\"\"\"
    place(add(a=1, b=1), "training").{setter}
"""
    )
    with pytest.raises(ConfigurationError, match=f"would drop {setting} of the task add"):
        tiny.build(target())


@pytest.mark.parametrize(("parameter", "taken"), [("n", False), ("m", True)])
def test_trap_and_guard_a_text_does_not_reach_into_a_condition(
    make_pipeline: Make, parameter: str, taken: bool
) -> None:
    body = f"""
from kfp import dsl

@dsl.pipeline(name="tiny")
def theirs(n: str = "1", m: str = "2"):
    with dsl.If(m == "2"):
        add(a=1, b=1).set_accelerator_type("nvidia.com/gpu").set_accelerator_limit({parameter})

@pipeline(version="1.0.0")
def tiny(n: str = "1", m: str = "2"):
    \"\"\"Take a count into a condition.\"\"\"
    with dsl.If(m == "2"):
        place(add(a=1, b=1), "training").set_accelerator_limit({parameter})
"""
    tiny = make_pipeline(body)
    theirs = json_format.MessageToDict(tiny.function.__globals__["theirs"].pipeline_spec)
    reached = theirs["components"]["comp-condition-1"]["inputDefinitions"]["parameters"]
    assert (f"pipelinechannel--{parameter}" in reached) == taken
    if taken:
        assert tiny.build(target())
    else:
        with pytest.raises(ConfigurationError, match="n does not reach accelerator"):
            tiny.build(target())


def test_a_quantity_from_the_output_of_a_task_is_judged_by_its_type(make_pipeline: Make) -> None:
    tiny = make_pipeline(
        """
@pipeline(version="1.0.0")
def tiny():
    \"\"\"Take a quantity from a step.\"\"\"
    place(add(a=1, b=1), "training").set_cpu_limit(place(add(a=1, b=2), "small").output)
"""
    )
    with pytest.raises(ConfigurationError, match="would drop resourceCpuLimit of the task add") as caught:
        tiny.build(target())
    assert "NUMBER_INTEGER" in caught.value.received


def test_guard_a_placement_takes_no_parameter_for_a_count() -> None:
    parameter = dsl.pipeline_channel.PipelineParameterChannel("gpus", "Integer")
    with pytest.raises(ValidationError, match="count"):
        Accelerator(resource="nvidia.com/gpu", count=parameter)


def test_a_quantity_from_a_text_is_let_through(make_pipeline: Make) -> None:
    tiny = make_pipeline(
        """
@pipeline(version="1.0.0")
def tiny(n: str = "1", image: str = "example/a:1"):
    \"\"\"Take a quantity and an image from texts.\"\"\"
    place(add(a=1, b=1), "training").set_accelerator_limit(n).set_container_image(image)
"""
    )
    assert "pipelinechannel--image" in compile_pipeline(tiny, target()).text


def test_trap_an_image_built_from_a_parameter_compiles_in_kfp() -> None:
    @dsl.pipeline
    def theirs(tag: str = "v1") -> None:
        plain().set_container_image(f"example/image:{tag}")

    assert container_of(theirs)["image"] == "example/image:{{$.inputs.parameters['pipelinechannel--tag']}}"


def test_guard_an_image_built_from_a_parameter_is_refused(make_pipeline: Make) -> None:
    tiny = make_pipeline(
        """
@pipeline(version="1.0.0")
def tiny(tag: str = "v1"):
    \"\"\"Build an image's name.\"\"\"
    place(add(a=1, b=1), "small").set_container_image(f"example/image:{tag}")
"""
    )
    with pytest.raises(ConfigurationError, match="for the image of the task add the parameter tag alone"):
        tiny.build(target())


@pytest.mark.parametrize("size", ["1.5Gi", "500k"])
def test_trap_kfp_refuses_fractions_of_memory_only_when_a_pipeline_is_traced(size: str) -> None:
    @dsl.pipeline
    def theirs() -> None:
        with pytest.raises(ValueError, match="Invalid memory string"):
            plain().set_memory_limit(size)

    # Ours are refused when the target is read: tests/unit/placement.
    with pytest.raises(ValidationError, match="memory quantity"):
        Placement.model_validate({**PLAIN, "memory": {"request": size, "limit": size}})


def test_trap_kfp_takes_a_unit_that_kubernetes_does_not() -> None:
    @dsl.pipeline
    def theirs() -> None:
        plain().set_memory_limit("500K")

    assert container_of(theirs)["resources"]["resourceMemoryLimit"] == "500K"
    with pytest.raises(ValidationError, match="memory quantity"):
        Placement.model_validate({**PLAIN, "memory": {"request": "500K", "limit": "500K"}})


def test_trap_running_after_a_failure_needs_every_input_and_kfp_says_it_by_a_key_error() -> None:
    @dsl.pipeline
    def theirs() -> None:
        before = plain()
        with pytest.raises(KeyError, match="text"):
            plain().after(before).ignore_upstream_failure()

    assert theirs


def test_guard_the_inputs_to_pass_are_named() -> None:
    @dsl.pipeline
    def ours() -> None:
        before = plain()
        with pytest.raises(ConfigurationError, match="Pass text where the task is made"):
            run_even_if_upstream_fails(plain().after(before))
        run_even_if_upstream_fails(plain(text=before.output))

    tasks = json_format.MessageToDict(ours.pipeline_spec)["root"]["dag"]["tasks"]
    assert tasks["plain-3"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def demanding(text: str) -> None:
    """A step whose input has no default."""


def test_guard_an_input_of_a_task_that_may_fail_needs_a_default() -> None:
    @dsl.pipeline
    def ours() -> None:
        with pytest.raises(ConfigurationError, match="nothing for its input text if the task plain failed"):
            run_even_if_upstream_fails(demanding(text=plain().output))

    assert ours


def test_trap_kfp_turns_off_certificate_checks_for_a_package_index() -> None:
    @dsl.component(base_image="python:3.11", packages_to_install=["a"], pip_index_urls=["https://example.com/simple"])
    def theirs() -> None:
        """Install a package."""

    assert "--trusted-host" in str(theirs.component_spec.implementation.container.command)


def test_guard_our_steps_install_nothing_and_trust_no_host(make_pipeline: Make) -> None:
    tiny = make_pipeline(
        """
@pipeline(version="1.0.0")
def tiny():
    \"\"\"Add.\"\"\"
    place(add(a=1, b=1), "small")
"""
    )
    text = compile_pipeline(tiny, target()).text
    assert "--trusted-host" not in text
    assert "pip" not in text.replace("pipeline", "")


IMPORTING = """
import sys
from kfp import dsl
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.placement.target import Target

def tiny():
    dsl.importer("s3://bucket/data", dsl.Dataset)

theirs, ours = dsl.pipeline(name="tiny")(tiny), Pipeline("tiny", "1.0.0", tiny).build(None).graph
for graph in (theirs, ours):
    print(graph.pipeline_spec.root.dag.tasks["importer"].caching_options.enable_cache)
"""


def test_trap_and_guard_caching_by_default_is_not_taken_from_the_environment() -> None:
    environment = {**os.environ, "KFP_DISABLE_EXECUTION_CACHING_BY_DEFAULT": "true"}
    output = subprocess.run(
        [sys.executable, "-c", IMPORTING], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert output.split() == ["False", "True"]


def test_trap_kfp_mounts_a_claim_where_its_driver_refuses_it_and_by_a_name_that_no_volume_can_have() -> None:
    @dsl.pipeline
    def theirs() -> None:
        kubernetes.mount_pvc(plain(), "team.data", "/kfp-workspace/data")

    executors = json_format.MessageToDict(theirs.platform_spec)["platforms"]["kubernetes"]["deploymentSpec"][
        "executors"
    ]
    assert executors["exec-plain"]["pvcMount"][0]["mountPath"] == "/kfp-workspace/data"
    for changed in ({"claim": "team.data"}, {"mount_path": "/kfp-workspace/data"}):
        with pytest.raises(ValidationError, match=next(iter(changed))):
            Mount.model_validate({"claim": "data", "mount_path": "/data", "access_mode": "ReadWriteMany"} | changed)


def test_trap_kfp_asks_for_a_volume_made_by_hand_where_no_storage_class_is_given() -> None:
    inputs = kubernetes.CreatePVC.component_spec.inputs
    assert inputs["storage_class_name"].default == ""
    # Ours leave the field out, which asks for the default class: tests/unit/kube.
