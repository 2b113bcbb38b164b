"""Jobs of a run on simulated nodes, and how they are run to their end."""

from __future__ import annotations

from typing import Any

from stepworks.kube.cluster import Cluster
from stepworks.kube.lifetime import run_to_end
from stepworks.kube.references import Manifest
from stepworks.kube.rules import JOB_COMPLETE
from tests.control_plane.kube.workloads import job

RUN = "run-1"
LABEL = {"stepworks.dev/run": RUN}


def job_of_run(name: str, outcome: str = "succeeded", after: str = "1s", **pod: Any) -> Manifest:
    """A Job of the run that ignores disruptions, as the Jobs of our steps do; `pod` is added to its pods' spec."""
    ignore = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    made = job(name, outcome, after, podFailurePolicy={"rules": [ignore]})
    made["spec"]["template"]["spec"].update(pod)
    return made


def run(cluster: Cluster, manifest: Manifest, *, timeout: float = 60, scheduling_timeout: float = 30) -> Manifest:
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
