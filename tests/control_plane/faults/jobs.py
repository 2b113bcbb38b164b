"""Jobs of a run on simulated nodes, and how they are run to their end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from stepworks.kube.cluster import Cluster
from stepworks.kube.lifetime import run_to_end
from stepworks.kube.objects import list_objects, patch
from stepworks.kube.references import Manifest, Reference, Selection
from stepworks.kube.rules import JOB_COMPLETE
from testbed.bed import Bed
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


def pods(cluster: Cluster) -> list[Manifest]:
    """The pods in the namespace."""
    return list_objects(cluster, Selection("v1", "Pod"))


def holding(cluster: Cluster) -> list[str]:
    """The pods that hold something of a node: those that have not ended."""
    return [
        pod["metadata"]["name"]
        for pod in pods(cluster)
        if pod.get("status", {}).get("phase") in {"Pending", "Running"} and not pod["metadata"].get("deletionTimestamp")
    ]


def wait_for(what: str, happened: Callable[[], Any], timeout: float = 30) -> Any:
    """Wait until something is true of the cluster; gives it."""
    deadline = time.monotonic() + timeout
    while not (answer := happened()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.1)
    return answer


def running_pod(cluster: Cluster) -> str:
    """The name of a running pod, as soon as there is one."""

    def find() -> list[str]:
        return [pod["metadata"]["name"] for pod in pods(cluster) if pod.get("status", {}).get("phase") == "Running"]

    return str(wait_for("a pod runs", find)[0])


def evict(bed: Bed, cluster: Cluster, pod: str) -> None:
    """Evict a pod through the API, as a drain does."""
    metadata = {"name": pod, "namespace": cluster.namespace}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}/eviction"
    bed.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def let_succeed(cluster: Cluster, pod: str) -> None:
    """Let the node play a pod to its good end."""
    annotations = {"testbed.stepworks.dev/outcome": "succeeded"}
    patch(cluster, Reference("v1", "Pod", pod), {"metadata": {"annotations": annotations}})
