"""Training jobs of our step: on simulated nodes, where annotations say what becomes of their pods."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import patch
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.workload import TrainingJobSpec
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.training_job import TrainingJobKind, run_training_job
from tests.control_plane.jobs import TARGET

RUN = "run-1"
NAMES = {
    kind: Reference(version, kind, "fit-run-1")
    for kind, version in (
        ("TrainJob", "trainer.kubeflow.org/v1alpha1"),
        ("PyTorchJob", "kubeflow.org/v1"),
        ("TFJob", "kubeflow.org/v1"),
    )
}
SECONDS = 90.0
"""How long anything is waited for: far longer than it takes."""


def played(outcome: str, *, retries: int = 0, timeout_seconds: int | None = None, **changes: Any) -> TrainingJobSpec:
    """Two nodes of four GPUs whose pods come to an outcome."""
    placement = TARGET.placement("training")
    assert placement.retry is not None
    assert placement.accelerator is not None
    more = {
        "accelerator": placement.accelerator.model_copy(update={"count": 4}),
        "annotations": {"testbed.stepworks.dev/outcome": outcome},
        "retry": placement.retry.model_copy(update={"count": retries}) if retries else None,
        "timeout_seconds": timeout_seconds,
    }
    given = {"image": "registry.example.com/stepworks/gpu:1", "command": ["train"], "nodes": 2, **changes}
    return TrainingJobSpec(placement=placement.model_copy(update=more), **given)


def run(cluster: Cluster, kind: TrainingJobKind, spec: TrainingJobSpec) -> Manifest:
    """Run it to its end as the step does."""
    return run_training_job(cluster, spec, kind=kind, name="fit", run=RUN, scheduling_timeout=SECONDS)


@contextmanager
def started(cluster: Cluster, kind: TrainingJobKind, spec: TrainingJobSpec) -> Iterator[Future[Manifest]]:
    """Run it meanwhile; the test ends it, or lets it end."""
    with ThreadPoolExecutor(1, thread_name_prefix="step") as executor:
        step = executor.submit(run, cluster, kind, spec)
        try:
            yield step
        except AssertionError as error:
            if step.done() and step.exception():
                error.add_note(f"The step had ended: {step.exception()}")
            raise


def let(cluster: Cluster, outcome: str, *pods: str) -> None:
    """Let pods that were to run for ever come to an outcome."""
    for name in pods:
        change = {"metadata": {"annotations": {"testbed.stepworks.dev/outcome": outcome}}}
        patch(cluster, Reference("v1", "Pod", name), change)
