"""The check of the cluster: the first step of each pipeline, which is told what the pipeline needs."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl, kubernetes

from stepworks.components.operations.check_first import check_first
from stepworks.components.operations.run_job.component import run_job
from stepworks.errors import ConfigurationError
from stepworks.kube.preflight.needs import Needs
from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.component import component
from stepworks.kubeflow.ir.read import parse_ir, read_ir
from stepworks.kubeflow.needs import needs_of
from stepworks.kubeflow.pipeline import pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import placement_of
from stepworks.placement.target import Target

ROOT = Path(__file__).parents[2]
COMPILED = [path for path in sorted((ROOT / "compiled").glob("*/*/*.yaml")) if path.stem != "vertex"]
A100 = Target.read(ROOT / "targets" / "a100.yaml")


def tasks_of(path: Path) -> dict[str, Any]:
    tasks: dict[str, Any] = next(yaml.safe_load_all(path.read_text()))["root"]["dag"]["tasks"]
    return tasks


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_pipeline_checks_first_and_knows_its_needs(path: Path) -> None:
    tasks = tasks_of(path)
    assert [name for name, task in tasks.items() if not task.get("dependentTasks")] == ["preflight"]
    given = tasks["preflight"]["inputs"]["parameters"]["needs"]["runtimeValue"]["constant"]
    assert Needs.from_json(given) == needs_of(read_ir(path), checked_by="preflight")


@pytest.mark.parametrize("path", sorted((ROOT / "compiled").glob("*/*/vertex.yaml")), ids=lambda path: path.parts[-3])
def test_on_vertex_there_is_no_cluster_to_check(path: Path) -> None:
    assert "preflight" not in tasks_of(path)
    with pytest.raises(ConfigurationError, match="compiled for Vertex AI"):
        needs_of(read_ir(path))


def test_the_flagship_needs_what_its_target_says() -> None:
    needs = needs_of(read_ir(ROOT / "compiled/tabular_train_and_deploy/0.1.0/a100.yaml"))
    (training,) = (pod for pod in needs.pods if "train" in pod.steps)
    assert training.requests == {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}
    assert training.node_selector == {"gpu-type": "a100-80gb"}
    assert training.claims == ("stepworks-checkpoints", "stepworks-datasets")
    assert [(maker.step, maker.component) for maker in needs.makers] == [
        ("deploy", "deploy"),
        ("roll-out-canary", "roll_out_canary"),
    ]
    assert needs.makers[0].given["format"] == "onnxruntime"
    assert needs.peak["requests.nvidia.com/gpu"] == "1"


@component("cpu")
def work(amount: int = 1) -> None:
    """Do nothing."""


def needs_by(function: Any, target: Target = A100) -> Needs:
    compiled = compile_pipeline(pipeline(version="1.0.0")(function), target)
    return needs_of(parse_ir(compiled.text, Path("x.yaml")))


def test_tasks_at_once_add_up_and_tasks_in_turn_do_not() -> None:
    def at_once() -> None:
        for _ in range(3):
            place(work(), "training")

    def in_turn() -> None:
        first = place(work(), "training")
        place(work(), "training").after(first)

    assert needs_by(at_once).peak["requests.nvidia.com/gpu"] == "3"
    assert needs_by(in_turn).peak["requests.nvidia.com/gpu"] == "1"


def test_the_iterations_of_a_loop_count_as_far_as_they_are_known() -> None:
    def counted() -> None:
        with dsl.ParallelFor([1, 2, 3, 4], parallelism=2) as item:
            place(work(amount=item), "training")

    def endless(items: list = [1]) -> None:  # noqa: B006
        with dsl.ParallelFor(items) as item:
            place(work(amount=item), "training")

    assert needs_by(counted).peak["requests.nvidia.com/gpu"] == "2"
    assert needs_by(endless).loops == ("for-loop-1",)


def test_the_pods_that_a_step_makes_count_with_its_own() -> None:
    def jobs() -> None:
        place(
            run_job(
                name="train",
                run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                image="registry.example.com/team/train:1",
                placement=placement_of("training"),
                completions=3,
                parallelism=3,
            ),
            "waits",
        )

    needs = needs_by(jobs)
    assert (needs.peak["requests.nvidia.com/gpu"], needs.peak["pods"], needs.peak["requests.cpu"]) == (
        "3",
        "4",
        "24500m",
    )
    assert needs.makers[0].given["parallelism"] == 3


def changed(**placement: Any) -> Target:
    """The target a100 with a placement of the role `small` that has more to it."""
    fields = A100.model_dump(exclude_unset=True)
    fields["placements"]["cpu-small"] |= placement
    return Target.model_validate(fields)


def test_what_a_placement_names_is_needed() -> None:
    def one() -> None:
        place(work(), "small")

    target = changed(
        secrets=[{"name": "store", "env": {"key": "STORE_KEY"}}, {"name": "cert", "mount_path": "/mnt/cert"}],
        config_maps=[{"name": "settings", "env": {"url": "URL"}, "optional": True}],
        image_pull_secrets=["pull"],
        priority_class="training",
        queue="team",
        node_affinity={"required": [{"match_expressions": [{"key": "zone", "operator": "Exists"}]}]},
    )
    (pod,) = needs_by(one, target).pods
    assert pod.secrets == {"store": ("key",), "cert": ()}
    assert pod.config_maps == {}  # the pod starts without it
    assert pod.image_pull_secrets == ("pull",)
    assert (pod.priority_class, pod.queue) == ("training", "team")
    assert pod.node_terms == ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]},)


def test_pods_of_several_classes_have_a_peak_each() -> None:
    def two() -> None:
        place(work(), "small")
        place(work(), "large")

    needs = needs_by(two, changed(priority_class="training"))
    assert needs.peak["pods"] == "2"
    assert {peak.priority_class: peak.amounts["pods"] for peak in needs.peaks} == {"": "1", "training": "1"}


def test_it_is_checked_once_and_never_from_the_cache() -> None:
    def twice() -> None:
        check_first()
        check_first()
        place(work(), "small")

    def cached() -> None:
        check_first("small")
        place(work(), "small")

    with pytest.raises(ConfigurationError, match="checks its cluster once"):
        needs_by(twice)
    with pytest.raises(ConfigurationError, match="must not be taken from the cache, and small may be"):
        needs_by(cached)


def test_within_a_block_there_is_no_first_step() -> None:
    def looped() -> None:
        with dsl.ParallelFor([1, 2]) as item:
            check_first()
            place(work(amount=item), "small")

    with pytest.raises(ConfigurationError, match="the check is within a block"):
        needs_by(looped)


def test_a_function_of_others_by_our_name_is_not_ours() -> None:
    @dsl.component(base_image="registry.example.com/team/x:1", install_kfp_package=False)
    def deploy(target: str = "x") -> None:
        print(target)  # noqa: T201

    def theirs() -> None:
        deploy().set_cpu_limit("2").set_memory_limit("4G")

    needs = needs_by(theirs)
    assert needs.makers == ()
    (pod,) = needs.pods
    assert pod.requests == pod.limits == {"cpu": "2", "memory": "3906250Ki"}  # a limit alone is the request, too


def test_tasks_of_a_branch_are_needed_only_where_it_is_taken() -> None:
    def branched(wanted: bool = False) -> None:
        place(work(), "small")
        with dsl.If(wanted == True):  # noqa: E712
            place(work(), "training")

    conditional = {pod.steps: pod.conditional for pod in needs_by(branched).pods}
    assert conditional == {("work",): False, ("condition-1/work-2",): True}


def job_of(parallelism: int) -> None:
    place(
        run_job(
            name="train",
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            image="registry.example.com/team/train:1",
            placement=placement_of("training"),
            parallelism=parallelism,
            completions=parallelism,
        ),
        "waits",
    )


def test_what_a_run_may_give_otherwise_is_not_known_within_it() -> None:
    def given(parallelism: int = 2) -> None:
        check_first()
        job_of(parallelism)

    compiled = compile_pipeline(pipeline(version="1.0.0")(given), A100)
    ir = parse_ir(compiled.text, Path("x.yaml"))
    (before,), (within,) = needs_of(ir).makers, needs_of(ir, checked_by="preflight").makers
    assert (before.given["parallelism"], before.later) == (2, ())
    assert ("parallelism" in within.given, within.later) == (False, ("completions", "parallelism"))


def test_claims_that_the_run_makes_are_not_looked_for() -> None:
    def made() -> None:
        claim = kubernetes.CreatePVC(
            pvc_name="scratch", access_modes=["ReadWriteOnce"], size="1Gi", storage_class_name="standard"
        )
        task = place(work(), "small").after(claim)
        kubernetes.mount_pvc(task, pvc_name="scratch", mount_path="/mnt/scratch")
        kubernetes.mount_pvc(task, pvc_name="data", mount_path="/mnt/data")

    (pod,) = needs_by(made).pods
    assert pod.claims == ("data",)


def test_names_that_a_parameter_gives_are_its_default_or_told_as_unknown() -> None:
    def named(claim: str = "data") -> None:
        task = place(work(), "small")
        kubernetes.mount_pvc(task, pvc_name=claim, mount_path="/mnt/data")
        kubernetes.use_secret_as_volume(task, secret_name=claim, mount_path="/mnt/secret")

    (pod,) = needs_by(named).pods
    assert (pod.claims, pod.unnamed) == (("data",), ("Secret",))


def test_on_this_machine_nothing_is_checked() -> None:
    def checked() -> None:
        check_first()
        place(work(), "small")

    graph = pipeline(version="1.0.0")(checked).build(None).graph
    assert list(graph.pipeline_spec.root.dag.tasks) == ["work"]


def test_tasks_within_a_block_wait_as_the_block_does() -> None:
    def blocks() -> None:
        check_first()
        with dsl.ParallelFor([1, 2]) as item:
            place(work(amount=item), "small")
        with dsl.ExitHandler(place(work().set_display_name("end"), "small")):
            place(work(), "small")

    text = compile_pipeline(pipeline(version="1.0.0")(blocks), A100).text
    tasks = next(yaml.safe_load_all(text))["root"]["dag"]["tasks"]
    waiting = {name.rstrip("-0123456789"): task.get("dependentTasks") for name, task in tasks.items()}
    assert waiting["for-loop"] == waiting["exit-handler"] == ["preflight"]
    assert [name for name, others in waiting.items() if not others] == ["preflight"]
