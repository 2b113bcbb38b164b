import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepworks.errors import ConfigurationError, UserError
from stepworks.kubeflow.compile import check_compiled, compile_pipeline, write_compiled
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.placement.accelerators import Accelerator
from stepworks.placement.placement import Placement
from stepworks.placement.resources import CpuRange, MemoryRange
from stepworks.placement.scheduling import Retry, Toleration
from stepworks.placement.storage import Claim
from stepworks.placement.target import Target

Make = Callable[[str], Pipeline]

GPU = Placement(
    cpu=CpuRange(request="500m", limit="4"),
    memory=MemoryRange(request="8Gi", limit="16Gi"),
    accelerator=Accelerator(resource="nvidia.com/gpu", count=2),
    node_selector={"gpu-type": "a100", "zone": "a"},
    tolerations=(
        Toleration(key="gpu", value="true", effect="NoSchedule"),
        Toleration(key="nvidia.com/gpu", operator="Exists"),
    ),
    retry=Retry(count=3, backoff_seconds=10, factor=1.5, maximum_seconds=60),
    timeout_seconds=120,
    cache=False,
)
PLAIN = Placement(cpu=CpuRange(request="1", limit="1"), memory=MemoryRange(request="1Gi", limit="1Gi"))


def target(**changed: Any) -> Target:
    fields: dict[str, Any] = {
        "name": "here",
        "images": {"cpu": "example/cpu:1"},
        "placements": {"gpu": GPU, "plain": PLAIN},
        "roles": {"training": "gpu", "small": "plain"},
        "claims": {
            "data": Claim(claim="data-claim", mount_path="/mnt/data", access_mode="ReadOnlyMany", read_only=True),
            "work": Claim(claim="work", mount_path="/mnt/work", access_mode="ReadWriteOnce", sub_path="a/b"),
        },
    }
    return Target(**(fields | changed))


PIPELINE = """
@pipeline(version="1.0.0")
def tiny(n: int = 1):
    \"\"\"Add twice.\"\"\"
    first = place(add(a=n, b=1), "small")
    place(add(a=first.output, b=2), "training", mounts=["data", "work"])
"""


def documents(pipeline: Pipeline, target: Target) -> tuple[dict[str, Any], dict[str, Any]]:
    specification, platform = yaml.safe_load_all(compile_pipeline(pipeline, target).text)
    return specification, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_every_field_of_a_placement_is_in_the_compiled_task(make_pipeline: Make) -> None:
    specification, platform = documents(make_pipeline(PIPELINE), target())
    container = specification["deploymentSpec"]["executors"]["exec-add-2"]["container"]
    assert container["image"] == "example/cpu:1"
    resources = container["resources"]
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "2"
    assert (resources["resourceCpuRequest"], resources["resourceCpuLimit"]) == ("500m", "4")
    assert (resources["resourceMemoryRequest"], resources["resourceMemoryLimit"]) == ("8Gi", "16Gi")
    task = specification["root"]["dag"]["tasks"]["add-2"]
    assert task["retryPolicy"] == {
        "backoffDuration": "10s", "backoffFactor": 1.5, "backoffMaxDuration": "60s", "maxRetryCount": 3,
    }  # fmt: skip
    assert task["cachingOptions"] == {}
    executor = platform["exec-add-2"]
    assert executor["activeDeadlineSeconds"] == "120"
    assert executor["nodeSelector"] == {"labels": {"gpu-type": "a100", "zone": "a"}}
    assert executor["tolerations"] == [
        {"key": "gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "operator": "Exists"},
    ]
    assert [(mount["constant"], mount["mountPath"], mount.get("subPath")) for mount in executor["pvcMount"]] == [
        ("data-claim", "/mnt/data", None), ("work", "/mnt/work", "a/b"),
    ]  # fmt: skip


def test_what_we_set_is_what_the_setters_of_kfp_set(make_pipeline: Make) -> None:
    by_setters = """
@pipeline(version="1.0.0")
def tiny(n: int = 1):
    \"\"\"Add twice.\"\"\"
    first = add(a=n, b=1)
    for task in (first, add(a=first.output, b=2)):
        task.set_container_image("example/cpu:1")
        task.set_cpu_request("500m").set_cpu_limit("4").set_memory_request("8Gi").set_memory_limit("16Gi")
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(2)
        task.set_env_variable("PET_NPROC_PER_NODE", "2")
"""
    theirs = make_pipeline(by_setters).build(target()).graph.pipeline_spec.deployment_spec
    ours = (
        make_pipeline(PIPELINE)
        .build(target(roles={"training": "gpu", "small": "gpu"}))
        .graph.pipeline_spec.deployment_spec
    )
    assert ours == theirs


def test_a_plain_placement_asks_for_no_node_and_no_retry(make_pipeline: Make) -> None:
    specification, platform = documents(make_pipeline(PIPELINE), target())
    task = specification["root"]["dag"]["tasks"]["add"]
    assert "retryPolicy" not in task
    assert task["cachingOptions"] == {"enableCache": True}
    assert "accelerator" not in specification["deploymentSpec"]["executors"]["exec-add"]["container"]["resources"]
    assert "exec-add" not in platform


def test_compiling_is_the_same_in_another_process_with_another_hash_seed_and_clock(
    make_pipeline: Make, write_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    here = compile_pipeline(make_pipeline(PIPELINE), target()).text
    (tmp_path / "target.json").write_text(target().model_dump_json())
    script = (
        "import sys; from stepworks.kubeflow.pipeline import load_pipeline;"
        "from stepworks.kubeflow.compile import compile_pipeline; from stepworks.placement.target import Target;"
        "target = Target.model_validate_json(open(sys.argv[2]).read());"
        "sys.stdout.write(compile_pipeline(load_pipeline(sys.argv[1]), target).text)"
    )
    there = subprocess.run(
        [sys.executable, "-c", script, str(write_pipeline(PIPELINE)), str(tmp_path / "target.json")],
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "KFP_DISABLE_EXECUTION_CACHING_BY_DEFAULT": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert there == here


def test_nothing_is_installed_when_a_step_starts(make_pipeline: Make) -> None:
    assert "pip install" not in compile_pipeline(make_pipeline(PIPELINE), target()).text


def test_code_is_a_block_that_a_reviewer_can_read(make_pipeline: Make) -> None:
    lines = compile_pipeline(make_pipeline(PIPELINE), target()).text.splitlines()
    assert any(line.strip() == "return a + b" for line in lines)


def test_a_task_that_was_not_placed_is_told(make_pipeline: Make) -> None:
    tiny = make_pipeline(
        """
@pipeline(version="1.0.0")
def tiny():
    \"\"\"Forget one.\"\"\"
    place(add(a=1, b=1), "small")
    add(a=1, b=2)
"""
    )
    with pytest.raises(ConfigurationError, match="add-2"):
        compile_pipeline(tiny, target())


def test_a_step_that_is_not_ours_is_told(make_pipeline: Make) -> None:
    tiny = make_pipeline(
        """
from kfp import dsl

@dsl.component(base_image="python:3.11")
def foreign():
    pass

@pipeline(version="1.0.0")
def tiny():
    \"\"\"Place what is not ours.\"\"\"
    place(foreign(), "small")
"""
    )
    with pytest.raises(ConfigurationError, match=r"python:3\.11"):
        compile_pipeline(tiny, target())


def test_a_path_below_a_claim_follows_the_target(make_pipeline: Make) -> None:
    tiny = make_pipeline(
        """
from stepworks.kubeflow.pipeline import claim_path

@pipeline(version="1.0.0")
def tiny():
    \"\"\"Name a path.\"\"\"
    place(fail(how=claim_path("work") + "/registry"), "small", mounts=["work"])
"""
    )
    elsewhere = Claim(claim="work", mount_path="/elsewhere", access_mode="ReadWriteOnce")
    assert "constant: /elsewhere/registry" in compile_pipeline(tiny, target(claims={"work": elsewhere})).text


def test_a_read_only_mount_of_a_writable_claim_is_refused_since_kfp_has_no_field_for_it(make_pipeline: Make) -> None:
    data = Claim(claim="data", mount_path="/mnt/data", access_mode="ReadWriteMany", read_only=True)
    work = Claim(claim="work", mount_path="/mnt/work", access_mode="ReadWriteOnce")
    with pytest.raises(ConfigurationError, match="PvcMount has no field read_only"):
        compile_pipeline(make_pipeline(PIPELINE), target(claims={"data": data, "work": work}))


def test_writing_tells_what_changed_and_the_check_shows_the_difference(make_pipeline: Make, tmp_path: Path) -> None:
    compiled = [compile_pipeline(make_pipeline(PIPELINE), target())]
    path = tmp_path / "compiled" / "tiny" / "1.0.0" / "here.yaml"
    with pytest.raises(UserError, match="make compile"):
        check_compiled(compiled, tmp_path / "compiled")
    assert write_compiled(compiled, tmp_path / "compiled") == [path]
    assert write_compiled(compiled, tmp_path / "compiled") == []
    check_compiled(compiled, tmp_path / "compiled")
    (path.parent / "gone.yaml").touch()
    check_compiled(compiled, tmp_path / "compiled")
    with pytest.raises(UserError, match=r"gone\.yaml \(kept\) is of no pipeline and target"):
        check_compiled(compiled, tmp_path / "compiled", complete=True)
    path.write_text(path.read_text().replace("example/cpu:1", "example/cpu:2"))
    with pytest.raises(UserError) as caught:
        check_compiled(compiled, tmp_path / "compiled")
    assert "-        image: example/cpu:2" in str(caught.value)
    assert "+        image: example/cpu:1" in str(caught.value)


def test_the_bytes_are_the_same_without_the_emitter_in_c() -> None:
    """PyYAML is built without libyaml where there is none."""
    script = (
        "import yaml\ndel yaml.CSafeDumper\n"
        "from pathlib import Path\nfrom stepworks.cli.compile import compile_pipelines\n"
        "compile_pipelines([], ['a100'], Path('targets'), Path('compiled'), check=True)\n"
    )
    root = Path(__file__).parents[3]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
