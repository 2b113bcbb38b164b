"""Jobs whose pods simulated nodes play: annotations say what becomes of them (testbed/stages.yaml)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepworks.kube.cluster import Cluster
from stepworks.kube.job import JobSpec, job_spec
from stepworks.operations.run_job import run_job
from stepworks.placement.target import Target

ROOT = Path(__file__).parents[3]
TARGET = Target.read(ROOT / "targets" / "a100.yaml")
OUTCOME = "testbed.stepworks.dev/outcome"
SECONDS = 60.0
"""How long anything is waited for: far longer than it takes."""


def played(outcome: str, *, role: str = "small", retries: int = 0, **changes: Any) -> JobSpec:
    """A Job on the nodes of a role whose pods come to an outcome."""
    placement = TARGET.placement(role)
    annotations = {
        OUTCOME: outcome,
        "testbed.stepworks.dev/exit-code": str(changes.pop("exit_code", 1)),
    }
    retry = placement.retry.model_copy(update={"count": retries}) if placement.retry and retries else None
    more = {"annotations": annotations, "retry": retry, "priority_class": changes.pop("priority_class", None)}
    return job_spec(image="registry.example.com/tools:1", placement=placement.model_copy(update=more), **changes)


def run(cluster: Cluster, spec: JobSpec, output: Path, *, name: str = "convert") -> dict[str, Any]:
    """What the step does."""
    return run_job(cluster, spec, name=name, run="r-1", folder="", output=output, scheduling_timeout=SECONDS)
