"""The Jobs of our step, played by simulated nodes: annotations say what becomes of their pods (testbed/stages.yaml)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.job import JobSpec, build_job, job_spec
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import JOB_COMPLETE
from stepworks.kube.runs.lifetime import run_to_end
from stepworks.operations.run_job import run_job
from stepworks.placement.target import Target

ROOT = Path(__file__).parents[2]
TARGET = Target.read(ROOT / "targets" / "a100.yaml")
RUN = "run-1"
LABEL = {"stepworks.dev/run": RUN}
SECONDS = 60.0
"""How long anything is waited for: far longer than it takes."""


def played(
    outcome: str, *, role: str = "small", retries: int = 0, after: str = "1s", exit_code: int = 1, **changes: Any
) -> JobSpec:
    """A Job on the nodes of a role whose pods come to an outcome."""
    placement = TARGET.placement(role)
    annotations = {"outcome": outcome, "after": after, "exit-code": str(exit_code)}
    retry = placement.retry.model_copy(update={"count": retries}) if placement.retry and retries else None
    more = {
        "annotations": {f"testbed.stepworks.dev/{name}": value for name, value in annotations.items()},
        "retry": retry,
        "priority_class": changes.pop("priority_class", None),
    }
    return job_spec(image="registry.example.com/tools:1", placement=placement.model_copy(update=more), **changes)


def job_of_run(name: str, outcome: str = "succeeded", after: str = "1s", **pod: Any) -> Manifest:
    """The manifest of such a Job under a name of the test's; `pod` replaces fields of its pods' spec."""
    made = build_job(played(outcome, after=after), name=name, run=RUN)
    made["metadata"]["name"] = name
    made["spec"]["template"]["spec"].update(pod)
    return made


def run(
    cluster: Cluster, manifest: Manifest, *, timeout: float = SECONDS, scheduling_timeout: float = 30.0
) -> Manifest:
    """Run it to its end as a step does."""
    return run_to_end(
        cluster,
        manifest,
        run=RUN,
        until=JOB_COMPLETE,
        timeout=timeout,
        on_failure="suspend",
        scheduling_timeout=scheduling_timeout,
    )


def run_step(cluster: Cluster, spec: JobSpec, output: Path, *, name: str = "convert") -> dict[str, Any]:
    """What the step `run_job` does."""
    return run_job(cluster, spec, name=name, run="r-1", folder="", output=output, scheduling_timeout=SECONDS)
