"""Each step under a token of its ServiceAccount: the Role that is shipped is enough, and no rule of it is idle.

What a step asks the API server for is read from the audit log of the API server itself, so that nothing that the
library does escapes. Each verb on each resource of a Role is exercised, the ways that end badly included.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from stepworks.errors import AccessDeniedError, StepworksError, WorkloadFailedError
from stepworks.kube.api.objects import create, delete, list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.builders.job import JobSpec
from stepworks.kube.builders.pytorch_job import build_pytorch_job
from stepworks.kube.builders.tf_job import build_tf_job
from stepworks.kube.builders.workload import TrainingJobSpec
from stepworks.kube.preflight.needs import MakerNeed, Needs, PodNeed
from stepworks.kube.preflight.report import State
from stepworks.kube.training_job import TrainingJobKind, make_runtime, run_training_job, train_job_and_runtime
from stepworks.operations.clean_up import clean_up
from stepworks.operations.make_claim import make_run_claim
from stepworks.operations.permissions import PERMISSIONS
from stepworks.placement.pod_placement import PodPlacement
from stepworks.preflight.step import check
from stepworks.tuning.experiment import build_experiment, trial_template
from stepworks.tuning.katib import tune_in_cluster
from stepworks.tuning.trial_job import build_trial
from testbed.audit import Call
from testbed.bed import Bed
from tests.control_plane.cluster.restricted import ACCOUNT, SECONDS, Step, in_background, while_deleted
from tests.control_plane.conftest import fresh_namespace
from tests.control_plane.jobs import TARGET, job_of_run, run_step
from tests.control_plane.jobs import played as played_job
from tests.control_plane.kube.workloads import claim, pod_template
from tests.control_plane.pods import let_succeed, running
from tests.control_plane.training.training_jobs import played as played_training
from tests.control_plane.tuning.katib import Katib
from tests.control_plane.tuning.searching import SPEC
from tests.waiting import wait_for

RUN = "run-1"
Spec = TypeVar("Spec", JobSpec, TrainingJobSpec)
NOT_MADE = (
    "jobsets",
    "mpijobs",
    "xgboostjobs",
    "jaxjobs",
    "inferenceservices",
    "inferencegraphs",
    "configmaps",
    "secrets",
)
"""What no step makes, or what outlives its run: the exit step looks, is refused, and passes over it."""
NOT_SEEN = ("nodes", "priorityclasses", "clusterservingruntimes", "pods", "inferenceservices", "inferencegraphs")
"""What pre-flight may not look at by its Role alone, or may not make, not even as a dry run: it says so."""
REFUSED = {"clean_up_run": NOT_MADE, "preflight": NOT_SEEN}


def run_job(step: Step) -> None:
    """A Job that succeeds, one that fails and is suspended, and one of a queue, which is deleted instead."""
    run_step(step.cluster, played_job("succeeded"), step.folder / "good", name="good")
    bad = played_job("failed", exit_code=64, permanent_exit_codes=[64])
    with pytest.raises(WorkloadFailedError):
        run_step(step.cluster, bad, step.folder / "bad", name="bad")
    with pytest.raises(WorkloadFailedError):
        run_step(step.cluster, queued(bad), step.folder / "queued", name="queued")


def queued(spec: Spec) -> Spec:
    """The same in a queue of Kueue, which would resume what is suspended."""
    return spec.model_copy(update={"placement": spec.placement.model_copy(update={"queue": "team"})})


def make_claim(step: Step) -> None:
    """A claim, also while that of an earlier attempt is being deleted."""

    def make() -> str:
        return make_run_claim("scratch", RUN, "1Gi", "ReadWriteOnce", "")

    while_deleted(step, Reference("v1", "PersistentVolumeClaim", make()), make)


def train_distributed(step: Step) -> None:
    """Each kind of job: one that fails and is suspended, one of a queue, and one that succeeds."""
    for kind in ("TrainJob", "PyTorchJob", "TFJob"):
        _train(step, kind)
    runtime = Reference("trainer.kubeflow.org/v1alpha1", "TrainingRuntime", f"good-{RUN}")
    delete(step.admin, replace(runtime, kind="TrainJob"))
    while_deleted(step, runtime, lambda: _run_training(step, "TrainJob", "succeeded", "good"))


def _train(step: Step, kind: TrainingJobKind) -> None:
    for name, change in (("bad", _same), ("queued", queued)):
        with pytest.raises(WorkloadFailedError):
            _run_training(step, kind, "oom-killed", f"{name}-{kind.lower()}", change)
    name = "good" if kind == "TrainJob" else f"good-{kind.lower()}"
    in_background(
        lambda: _run_training(step, kind, "running", name),
        lambda: let_succeed(step.admin, *running(step.admin)),
    )


def _same(spec: TrainingJobSpec) -> TrainingJobSpec:
    return spec


def _run_training(
    step: Step,
    kind: TrainingJobKind,
    outcome: str,
    name: str,
    change: Callable[[TrainingJobSpec], TrainingJobSpec] = _same,
) -> None:
    spec = change(played_training(outcome, nodes=1, timeout_seconds=3600 if kind == "TrainJob" else None))
    run_training_job(step.cluster, spec, kind=kind, name=name, run=RUN, scheduling_timeout=SECONDS)


def tune(step: Step) -> None:
    """A search that comes to its end, and one that fails, which is deleted; Katib is played."""
    katib = Katib(step.bed, step.admin)
    trial = build_trial(
        step.cluster,
        "TrainJob",
        image=TARGET.image("gpu"),
        placement=TARGET.placement("training"),
        mounts=[],
        nodes=1,
        workspace="/mnt/runs",
        parameters=SPEC.space,
        name="tune",
        run=RUN,
        active_deadline_seconds=120,
    )
    assert trial.runtime
    make_runtime(step.cluster, trial.runtime, trial.manifest, RUN, trial.beyond)
    runtime = Reference("trainer.kubeflow.org/v1alpha1", "TrainingRuntime", trial.runtime["metadata"]["name"])
    while_deleted(
        step, runtime, lambda: make_runtime(step.cluster, trial.runtime or {}, trial.manifest, RUN, trial.beyond)
    )
    for name, condition in (("good", "Succeeded"), ("bad", "Failed")):
        experiment = build_experiment(SPEC, trial_template(trial.manifest), name=name, run=RUN)
        labels = {"katib.kubeflow.org/experiment": f"{name}-{RUN}"}
        pod = pod_template("Never", labels, {"testbed.stepworks.dev/outcome": "failed"})
        pod["metadata"]["name"] = f"{name}-trial"
        create(step.admin, {"apiVersion": "v1", "kind": "Pod", **pod})
        in_background(
            lambda made=experiment: tune_in_cluster(step.cluster, SPEC, made, run=RUN, timeout=SECONDS),
            lambda end=(f"{name}-{RUN}", condition): _end(katib, *end),
        )


def _end(katib: Katib, name: str, condition: str) -> None:
    wait_for("the Experiment is there", lambda: [e for e in katib.experiments() if e["metadata"]["name"] == name])
    katib.end_experiment(name, condition, "Ended")


def clean_up_run(step: Step) -> None:
    """What steps have made of a run: claims, and jobs of each kind."""
    suspended = played_training("running", suspend=True, timeout_seconds=3600)
    train_job, runtime, _ = train_job_and_runtime(
        step.admin, suspended, name="fit", run=RUN, runtime="torch-distributed"
    )
    assert runtime
    plain = played_training("running", suspend=True)
    made = [
        claim("scratch"),
        job_of_run("convert"),
        runtime,
        train_job,
        build_pytorch_job(plain, name="fit", run=RUN),
        build_tf_job(plain, name="fit", run=RUN),
        {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": "fit"}},
    ]
    for each in made:
        each["metadata"].setdefault("labels", {})["stepworks.dev/run"] = RUN
        wait_for("it is taken", lambda each=each: _made(step, each))
    clean_up(RUN, [], objects=True)
    assert list_objects(step.admin, Selection("batch/v1", "Job")) == []


def _made(step: Step, manifest: dict[str, Any]) -> bool:
    """Make an object; Trainer takes a TrainJob a moment after its runtime."""
    try:
        create(step.admin, manifest)
    except StepworksError as error:
        assert "must be created before the TrainJob" in str(error), str(error)  # noqa: PT017
        return False
    return True


def preflight(step: Step) -> None:
    """A look at all that there is for a pipeline which serves a model."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"url": "x"}}
    create(step.admin, config)
    placed = PodPlacement(role="serving", placement=TARGET.placement("serving")).to_json()
    needs = Needs(
        pods=[PodNeed(steps=["train"], claims=["data"], config_maps={"settings": ["url"]}, priority_class="training")],
        makers=[MakerNeed(step="deploy", component="deploy", given={"placement": placed, "format": "onnxruntime"})],
    )
    found = check(step.cluster, needs, service_account=ACCOUNT, as_itself=True)
    unseen = {each.topic for each in found.of(State.UNKNOWN)}
    assert unseen == {"nodes", "priority", "runtime", "admission"}, found.of(State.UNKNOWN)


SCENARIOS: dict[str, Callable[[Step], None]] = {
    each.__name__: each for each in (preflight, run_job, make_claim, train_distributed, tune, clean_up_run)
}


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Callable[[Step], None]:
    """Lets steps that connect by themselves, as in their pods, connect as the step of the test."""

    def connect(step: Step) -> None:
        monkeypatch.setattr("stepworks.operations.make_claim.connect_from_step", lambda _: step.cluster)
        monkeypatch.setattr("stepworks.operations.clean_up.cluster_of_step", lambda: step.cluster)

    return connect


@pytest.mark.parametrize("component", SCENARIOS)
def test_a_role_is_enough_and_no_rule_of_it_is_idle(
    team_bed: Bed, tmp_path: Path, component: str, connected: Callable[[Step], None]
) -> None:
    with fresh_namespace(team_bed.kubeconfig) as admin:
        step = Step(team_bed, admin, tmp_path, component)
        connected(step)
        SCENARIOS[component](step)
        asked = step.asked()
    denied = {each for each in asked if each.denied}
    assert denied == {each for each in denied if each.resource in REFUSED.get(component, ())}
    assert asked - denied == step.granted()


def rules(component: str) -> list[Call]:
    """What a component cannot do without."""
    needed = [each for each in PERMISSIONS[component] if not each.optional]
    return [Call(verb, each.group, resource) for each in needed for resource in each.resources for verb in each.verbs]


@pytest.mark.parametrize("missing", rules("make_claim"), ids=lambda call: call.verb)
def test_without_any_one_rule_a_claim_is_not_made(
    team_bed: Bed, tmp_path: Path, missing: Call, connected: Callable[[Step], None]
) -> None:
    with fresh_namespace(team_bed.kubeconfig) as admin:
        step = Step(team_bed, admin, tmp_path, "make_claim")
        connected(step)
        held = make_run_claim("scratch", RUN, "1Gi", "ReadWriteOnce", "")
        step = Step(team_bed, admin, tmp_path, "make_claim", without=missing)
        connected(step)
        errors: list[BaseException] = []

        def make() -> None:
            try:
                make_run_claim("scratch", RUN, "1Gi", "ReadWriteOnce", "")
            except StepworksError as error:
                errors.append(error)

        while_deleted(step, Reference("v1", "PersistentVolumeClaim", held), make)
        assert replace(missing, denied=True) in step.asked()
    (error,) = errors
    assert isinstance(error, AccessDeniedError)
    assert missing.verb in error.what_to_do


@pytest.mark.long
@pytest.mark.parametrize("missing", rules("run_job"), ids=lambda call: call.verb)
def test_without_any_one_rule_a_job_is_not_run_as_it_should(
    team_bed: Bed, tmp_path: Path, missing: Call, connected: Callable[[Step], None]
) -> None:
    with fresh_namespace(team_bed.kubeconfig) as admin:
        step = Step(team_bed, admin, tmp_path, "run_job", without=missing)
        connected(step)
        with suppress(StepworksError, AssertionError):
            run_job(step)
        assert replace(missing, denied=True) in step.asked()
