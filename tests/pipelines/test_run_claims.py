"""The three ways of a run's own volume: a folder of a claim that stays, a claim that is made, KFP's workspace."""

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl

from stepworks.components.operations.run_claims import run_claims
from stepworks.components.operations.run_job.component import run_job
from stepworks.errors import ConfigurationError, StepFailedError
from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.local.run import LocalRun, execute, local_run
from stepworks.kubeflow.pipeline import Pipeline, load_pipeline, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import placement_of
from stepworks.placement.target import Target

RUN = "{{$.pipeline_job_uuid}}"
CPU = {"cpu": {"request": "1", "limit": "2"}, "memory": {"request": "1Gi", "limit": "2Gi"}}
EXISTING = {"claim": "team-scratch", "mount_path": "/mnt/scratch", "access_mode": "ReadWriteMany"}
MADE = {
    "create": {"size": "10Gi", "storage_class": "fast"},
    "mount_path": "/mnt/scratch",
    "access_mode": "ReadWriteOnce",
}
WORKSPACE = {"workspace": {"size": "10Gi"}, "access_mode": "ReadWriteOnce"}


@pytest.fixture(scope="module")
def scratch_space() -> Pipeline:
    return load_pipeline(str(Path(__file__).with_name("run_claims_pipeline.py")))


def target(scratch: dict[str, Any], **changed: Any) -> Target:
    fields: dict[str, Any] = {
        "name": "here",
        "images": {"cpu": "example/cpu:1"},
        "placements": {"cpu": CPU, "cpu-effects": {**CPU, "cache": False}},
        "roles": {"small": "cpu", "effects": "cpu-effects"},
        "claims": {
            "scratch": scratch,
            "results": {"claim": "results", "mount_path": "/mnt/results", "access_mode": "ReadWriteOnce"},
        },
    }
    return Target.model_validate(fields | changed)


class Parts:
    """The parts of a compiled pipeline that tell where its volumes are."""

    def __init__(self, pipeline: Pipeline, target: Target) -> None:
        specification, platform = yaml.safe_load_all(compile_pipeline(pipeline, target).text)
        self.root = specification["root"]["dag"]["tasks"]
        self.dags = {name: each["dag"]["tasks"] for name, each in specification["components"].items() if "dag" in each}
        self.platform = platform["platforms"]["kubernetes"]
        self.mounts = {
            name.removeprefix("exec-"): each["pvcMount"]
            for name, each in self.platform.get("deploymentSpec", {}).get("executors", {}).items()
            if "pvcMount" in each
        }


def constants(task: dict[str, Any]) -> dict[str, Any]:
    return {
        name: each["runtimeValue"]["constant"]
        for name, each in task["inputs"]["parameters"].items()
        if "runtimeValue" in each
    }


def constant_mount(claim: str, path: str) -> dict[str, Any]:
    return {"constant": claim, "pvcNameParameter": {"runtimeValue": {"constant": claim}}, "mountPath": path}


def test_of_a_claim_that_stays_a_run_has_a_folder_which_the_exit_step_deletes(scratch_space: Pipeline) -> None:
    parts = Parts(scratch_space, target(EXISTING))
    assert set(parts.root) == {"clean-up-run", "exit-handler-1"}
    exit_step = parts.root["clean-up-run"]
    assert exit_step["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert constants(exit_step) == {"run": RUN, "objects": False, "folders": ["/mnt/scratch"]}
    inner = parts.dags["comp-exit-handler-1"]
    assert constants(inner["make-folder"]) == {"run": RUN, "parent": "/mnt/scratch"}
    channel = "pipelinechannel--make-folder-folder"
    assert constants(inner["write-rows"]) == {"folder": f"{{{{$.inputs.parameters['{channel}']}}}}/tables"}
    output = {"producerTask": "make-folder", "outputParameterKey": "folder"}
    assert inner["write-rows"]["inputs"]["parameters"][channel] == {"taskOutputParameter": output}
    assert inner["write-rows"]["dependentTasks"] == ["make-folder"]
    assert parts.mounts == {
        "clean-up-run": [constant_mount("team-scratch", "/mnt/scratch")],
        "make-folder": [constant_mount("team-scratch", "/mnt/scratch")],
        "write-rows": [constant_mount("team-scratch", "/mnt/scratch")],
        "count-rows": [constant_mount("team-scratch", "/mnt/scratch"), constant_mount("results", "/mnt/results")],
    }


@pytest.mark.parametrize(
    ("scratch", "mounts", "folders"), [(EXISTING, ["scratch"], ["/mnt/scratch"]), (WORKSPACE, [], [])]
)
def test_what_a_step_makes_in_the_cluster_is_deleted_too(
    scratch: dict[str, Any], mounts: list[str], folders: list[str]
) -> None:
    @pipeline(version="1.0.0")
    def converts() -> None:
        """Convert rows in a Job."""
        with run_claims("scratch"):
            job = run_job(
                name="convert",
                run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                image="registry.example.com/convert:1",
                placement=placement_of("small", mounts=mounts),
            )
            place(job, "small")

    exit_step = Parts(converts, target(scratch)).root["clean-up-run"]
    assert constants(exit_step) == {"run": RUN, "objects": True, "folders": folders}


def test_a_claim_is_made_first_and_deleted_last(scratch_space: Pipeline) -> None:
    parts = Parts(scratch_space, target(MADE))
    inner = parts.dags["comp-exit-handler-1"]
    assert constants(parts.root["clean-up-run"]) == {"run": RUN, "objects": True, "folders": []}
    assert constants(inner["make-claim"]) == {
        "name": "scratch", "run": RUN, "size": "10Gi", "access_mode": "ReadWriteOnce", "storage_class": "fast",
    }  # fmt: skip
    assert inner["make-claim"]["cachingOptions"] == {}
    assert inner["write-rows"]["dependentTasks"] == ["make-claim"]
    assert constants(inner["write-rows"]) == {"folder": "/mnt/scratch/tables"}
    output = {"producerTask": "make-claim", "outputParameterKey": "claim"}
    assert parts.mounts["write-rows"] == [
        {
            "taskOutputParameter": output,
            "pvcNameParameter": {"taskOutputParameter": output},
            "mountPath": "/mnt/scratch",
        }
    ]
    # Within the condition, the name comes through the condition's own input.
    channel = "pipelinechannel--make-claim-claim"
    assert parts.mounts["count-rows"][1]["pvcNameParameter"] == {"componentInputParameter": channel}
    assert inner["condition-2"]["inputs"]["parameters"][channel] == {"taskOutputParameter": output}
    assert "clean-up-run" not in parts.mounts


def test_a_workspace_is_of_kfp_and_the_exit_step_has_no_folder_of_it(scratch_space: Pipeline) -> None:
    parts = Parts(scratch_space, target(WORKSPACE))
    assert set(parts.root) == {"clean-up-run", "exit-handler-1"}
    assert constants(parts.root["clean-up-run"]) == {"run": RUN, "objects": False, "folders": []}
    inner = parts.dags["comp-exit-handler-1"]
    assert set(inner) == {"write-rows", "condition-2"}
    assert constants(inner["write-rows"]) == {"folder": "{{$.workspace_path}}/tables"}
    assert parts.platform["pipelineConfig"] == {
        "workspace": {"size": "10Gi", "kubernetes": {"pvcSpecPatch": {"accessModes": ["ReadWriteOnce"]}}}
    }
    assert set(parts.mounts) == {"count-rows"}


def test_the_default_storage_class_is_no_name_at_all(scratch_space: Pipeline) -> None:
    made = {**MADE, "create": {"size": "10Gi"}}
    inner = Parts(scratch_space, target(made)).dags["comp-exit-handler-1"]
    assert constants(inner["make-claim"])["storage_class"] == ""
    named = {**WORKSPACE, "workspace": {"size": "10Gi", "storage_class": "fast"}}
    patch = Parts(scratch_space, target(named)).platform["pipelineConfig"]["workspace"]["kubernetes"]["pvcSpecPatch"]
    assert patch["storageClassName"] == "fast"


@pytest.mark.parametrize("scratch", [EXISTING, MADE, WORKSPACE], ids=["claim", "create", "workspace"])
def test_compiling_again_gives_the_same_bytes(scratch_space: Pipeline, scratch: dict[str, Any]) -> None:
    texts = {compile_pipeline(scratch_space, target(scratch)).text for _ in range(3)}
    assert len(texts) == 1


def test_steps_that_make_claims_are_never_taken_from_the_cache(scratch_space: Pipeline) -> None:
    cached = target(MADE, roles={"small": "cpu", "effects": "cpu"})
    with pytest.raises(ConfigurationError, match="must not be taken from the cache"):
        scratch_space.build(cached)


def test_a_claim_that_is_only_read_holds_nothing_of_a_run(scratch_space: Pipeline) -> None:
    for mode in ("ReadOnlyMany", "ReadWriteMany"):
        read = {**EXISTING, "access_mode": mode, "read_only": True}
        with pytest.raises(ConfigurationError, match="The claim scratch is only read") as caught:
            scratch_space.build(target(read))
        assert mode in caught.value.received


def run(pipeline: Pipeline, home: Path, **arguments: Any) -> LocalRun:
    with local_run(pipeline, arguments, home) as running:
        execute(running, io.StringIO())
    return running


def test_on_this_machine_the_folder_of_a_run_is_gone_after_it(scratch_space: Pipeline, tmp_path: Path) -> None:
    running = run(scratch_space, tmp_path, rows=5)
    assert (tmp_path / "claims" / "results" / "count").read_text() == "5"
    assert list((tmp_path / "claims" / "scratch").iterdir()) == []
    assert "The run has the folder" in (running.folder / "logs" / "make-folder.log").read_text()
    assert "Deleted the folder" in (running.folder / "logs" / "clean-up-run.log").read_text()


def test_it_is_gone_after_a_failure_too(scratch_space: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(StepFailedError, match="no rows"):
        run(scratch_space, tmp_path, rows=0)
    assert list((tmp_path / "claims" / "scratch").iterdir()) == []


MAKING = """
from kfp import dsl
from stepworks.components.operations.clean_up_run.component import clean_up_run
from stepworks.components.operations.make_claim.component import make_claim
from stepworks.kubeflow.pipeline import pipeline

@pipeline(version="1.0.0")
def making():
    \"\"\"Make a claim by hand.\"\"\"
    run = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    made = make_claim(name="scratch", run=run, size="1Gi", access_mode="ReadWriteOnce")
    clean_up_run(run=run, objects=True, folders=[]).after(made)
"""


def test_the_steps_by_themselves_need_no_cluster_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "making.py"
    path.write_text(MAKING)
    running = run(load_pipeline(str(path)), tmp_path)
    assert "A folder stands for the claim scratch-" in (running.folder / "logs" / "make-claim.log").read_text()
    assert "There was nothing to delete" in (running.folder / "logs" / "clean-up-run.log").read_text()
