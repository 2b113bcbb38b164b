"""What steps that make pods are told of the target: it stands in the compiled file, and changes with the target."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl

from stepworks.components.operations.run_claims import run_claims
from stepworks.components.operations.run_job.component import run_job
from stepworks.errors import ConfigurationError
from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.ir.peak import peak_accelerators
from stepworks.kubeflow.ir.read import parse_ir
from stepworks.kubeflow.pipeline import Pipeline, claim_path, load_pipeline, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of
from stepworks.placement.pod_placement import PodPlacement
from stepworks.placement.target import Target, read_targets

TARGETS = read_targets(Path(__file__).parents[3] / "targets")
SCRATCH: dict[str, dict[str, Any]] = {
    "made": {"create": {"size": "10Gi"}, "mount_path": "/mnt/scratch", "access_mode": "ReadWriteMany"},
    "kept": {"claim": "team-scratch", "mount_path": "/mnt/scratch", "access_mode": "ReadWriteMany"},
    "workspace": {"workspace": {"size": "10Gi"}, "access_mode": "ReadWriteMany"},
}


def target(name: str = "a100", **claims: dict[str, Any]) -> Target:
    content = TARGETS[name].model_dump(exclude_unset=True)
    return Target.model_validate({**content, "claims": {**content["claims"], **claims}})


@pipeline(version="1.0.0")
def with_a_job() -> None:
    """Run a Job."""
    with run_claims("scratch"):
        place(
            run_job(
                name="convert",
                run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                image=image_of("cpu"),
                placement=placement_of("training", mounts=["scratch"]),
                folder=f"{claim_path('scratch')}/converted",
            ),
            "effects",
            mounts=["scratch"],
        )


def declared(built: Pipeline, of: Target) -> dict[str, Any]:
    """The constants that the task run-job is given."""
    ir = next(iter(yaml.safe_load_all(compile_pipeline(built, of).text)))
    graphs = [ir["root"], *ir["components"].values()]
    (task,) = (
        graph["dag"]["tasks"]["run-job"] for graph in graphs if "run-job" in graph.get("dag", {}).get("tasks", {})
    )
    inputs = task["inputs"]["parameters"]
    return {name: each["runtimeValue"]["constant"] for name, each in inputs.items() if "runtimeValue" in each}


@pytest.mark.parametrize("name", ["a100", "mig", "amd"])
def test_the_job_gets_the_nodes_of_the_target(name: str) -> None:
    of = target(name, scratch=SCRATCH["kept"])
    given = declared(with_a_job, of)
    placement = PodPlacement.from_json(given["placement"])
    assert placement.placement == of.placement("training")
    assert given["image"] == of.image("cpu")
    assert [each.claim for each in placement.mounts_of("r-1")] == ["team-scratch"]
    # A step makes the folder of the run; its path is put in by Kubeflow before the step begins.
    assert given["folder"] == "{{$.inputs.parameters['pipelinechannel--make-folder-folder']}}/converted"


def test_a_claim_that_the_run_makes_is_mounted_under_the_name_that_it_will_have() -> None:
    given = declared(with_a_job, target(scratch=SCRATCH["made"]))
    assert [each.claim for each in PodPlacement.from_json(given["placement"]).mounts_of("r-1")] == ["scratch-r-1"]
    assert given["folder"] == "/mnt/scratch/converted"


def test_the_workspace_of_kubeflow_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="only KFP's own tasks can mount"):
        compile_pipeline(with_a_job, target(scratch=SCRATCH["workspace"]))


def test_a_claim_of_the_run_is_refused_outside_of_run_claims() -> None:
    @pipeline(version="1.0.0")
    def outside() -> None:
        """Outside."""
        placement_of("training", mounts=["scratch"])

    with pytest.raises(ConfigurationError, match="does not outlive a run"):
        compile_pipeline(outside, target(scratch=SCRATCH["made"]))


def test_vertex_is_refused() -> None:
    @pipeline(version="1.0.0")
    def on_vertex() -> None:
        """Vertex."""
        placement_of("training")

    with pytest.raises(ConfigurationError, match="Pods need a Kubernetes cluster"):
        compile_pipeline(on_vertex, TARGETS["vertex"])


@pytest.mark.parametrize("missing", ["role", "claim", "image"])
def test_what_the_target_lacks_is_told(missing: str) -> None:
    @pipeline(version="1.0.0")
    def lacking() -> None:
        """Lacking."""
        if missing == "image":
            image_of("tools")
        placement_of("huge" if missing == "role" else "training", mounts=["absent"] if missing == "claim" else [])

    with pytest.raises(ConfigurationError, match="The target a100 has no"):
        compile_pipeline(lacking, TARGETS["a100"])


def test_on_this_machine_only_the_names_are_known() -> None:
    assert placement_of("training", mounts=["scratch"]) == {"role": "training", "claims": ["scratch"]}
    assert image_of("cpu") == "cpu"


@pytest.mark.parametrize("which", ["made", "kept"])
@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod"])
def test_a_claim_of_one_node_in_a_step_and_in_its_pods_is_refused(which: str, mode: str) -> None:
    claim = {**SCRATCH[which], "access_mode": mode}
    with pytest.raises(ConfigurationError, match=f"The claim scratch is {mode}, and a task and the pods") as raised:
        compile_pipeline(with_a_job, target(scratch=claim))
    assert "run-job, with scratch in its mounts" in raised.value.received


@pytest.mark.parametrize(
    ("more", "count", "unknown"),
    [
        ("", 1, 0),
        (", completions=8, parallelism=4", 4, 0),
        (", completions=8, parallelism=pods", 3, 0),
        (', completions=8, parallelism=counted.outputs["Output"]', 1, 1),
    ],
)
def test_the_accelerators_of_the_pods_are_counted(tmp_path: Path, more: str, count: int, unknown: int) -> None:
    path = tmp_path / "jobs.py"
    path.write_text(
        f"""
from stepworks.components.operations.run_job.component import run_job
from stepworks.kubeflow.component import component
from stepworks.kubeflow.pipeline import pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of

@component("cpu")
def count_pods() -> int:
    return 4

@pipeline(version="1.0.0")
def jobs(pods: int = 3):
    counted = place(count_pods(), "small")
    place(run_job(name="a", run="r", image=image_of("gpu"), placement=placement_of("training"){more}), "effects")
"""
    )
    compiled = compile_pipeline(load_pipeline(str(path)), TARGETS["a100"])
    peak = peak_accelerators(parse_ir(compiled.text, path))
    assert (peak.count, peak.by_type, len(peak.unknown)) == (count, {"nvidia.com/gpu": count}, unknown)


@pipeline(version="1.0.0")
def in_a_cached_role() -> None:
    """Run a Job by a step whose role may be taken from the cache."""
    job = run_job(
        name="convert",
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        image=image_of("cpu"),
        placement=placement_of("training"),
    )
    place(job, "small")


def test_the_run_is_part_of_what_kubeflow_asks_its_cache_by() -> None:
    ir = next(iter(yaml.safe_load_all(compile_pipeline(in_a_cached_role, target()).text)))
    task = ir["root"]["dag"]["tasks"]["run-job"]
    assert task["cachingOptions"] == {"enableCache": True}
    # Kubeflow fills it in before it makes the key of all inputs, since it is all of a value.
    assert task["inputs"]["parameters"]["run"] == {"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}
