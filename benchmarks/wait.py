"""`make bench-wait`: how soon a wait returns once a Job is complete, and what 200 waits at once take.

The peer is the usual loop that reads the object every ten seconds; what it takes hangs on where in its interval the
Job completes, so its Jobs complete at moments that are spread evenly over one. Both run against a control plane that
is started for it. What is counted begins before the condition is written, and so holds the write itself.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubernetes import client

from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import apply, get
from stepworks.kube.api.references import Reference, reference_to
from stepworks.kube.kinds.judgement import Succeeded
from stepworks.kube.kinds.rules import JOB_COMPLETE
from stepworks.kube.waiting.wait import wait, wait_all
from testbed.bed import Bed
from testbed.settings import Settings

ROUNDS = 40
POLLS = 10
POLL_SECONDS = 10.0
AT_ONCE = 200
LIMIT = 0.100
"""Seconds that the median reaction may take."""
TIME = "2026-01-01T00:00:00Z"
CONDITIONS = [
    {"type": name, "status": "True", "reason": "Measured", "lastTransitionTime": TIME}
    for name in ("SuccessCriteriaMet", "Complete")
]
COMPLETE = {"status": {"startTime": TIME, "completionTime": TIME, "conditions": CONDITIONS}}


def main() -> None:
    """Measure one Job after the other, then many at once."""
    with tempfile.TemporaryDirectory() as folder:
        bed = Bed(Path(folder) / "bed", Settings(controllers=(), process_nodes=(), simulation=False), print)
        bed.start()
        try:
            bed.kubectl("create", "namespace", "bench")
            cluster = connect(kubeconfig=bed.kubeconfig, namespace="bench")
            watching = [_reaction(cluster, f"watched-{number}", _wait, 0.2) for number in range(ROUNDS)]
            with ThreadPoolExecutor(POLLS) as threads:
                delays = [POLL_SECONDS * (number + 0.5) / POLLS for number in range(POLLS)]
                names = [f"polled-{number}" for number in range(POLLS)]
                polling = list(threads.map(lambda name, delay: _reaction(cluster, name, _poll, delay), names, delays))
            _show("wait", watching)
            _show(f"reading every {POLL_SECONDS:g} s", polling)
            ratio = statistics.median(polling) / statistics.median(watching)
            print(f"polling/wait {ratio:.0f} (the median of wait is to be under {1000 * LIMIT:.0f} ms)")
            _many(cluster, connect(kubeconfig=bed.kubeconfig, namespace="bench"))
        finally:
            bed.stop()


def _reaction(cluster: Cluster, name: str, until: Callable[[Cluster, Reference], object], delay: float) -> float:
    """How many seconds after the write of the condition the Job is known to be complete."""
    reference = _make(cluster, name)
    with ThreadPoolExecutor(1) as thread:
        returned = thread.submit(lambda: (until(cluster, reference), time.monotonic())[1])
        time.sleep(delay)
        written = time.monotonic()
        _complete(cluster, name)
        return returned.result() - written


def _many(cluster: Cluster, waiting: Cluster) -> None:
    """Wait for many Jobs at once, which another connection completes one after the other."""
    references = [_make(cluster, f"many-{number}") for number in range(AT_ONCE)]
    written: dict[str, float] = {}

    def complete() -> None:
        time.sleep(1)
        for reference in references:
            written[reference.name] = time.monotonic()
            _complete(cluster, reference.name)

    before = _peak_megabytes()
    with ThreadPoolExecutor(1) as thread:
        completing = thread.submit(complete)
        reactions = []
        for outcome in wait_all(waiting, references, until=JOB_COMPLETE, timeout=300):
            assert outcome.error is None, outcome.error
            reactions.append(time.monotonic() - written[outcome.reference.name])
        completing.result()
    _show(f"{AT_ONCE} at once", reactions)
    pool = waiting.client.rest_client.pool_manager.connection_from_url(waiting.client.configuration.host)
    print(
        f"{AT_ONCE} at once: {pool.num_connections} connections, {pool.num_requests} requests, "
        f"{_peak_megabytes() - before:.1f} MB more at the peak"
    )


def _show(name: str, seconds: list[float]) -> None:
    ordered = sorted(1000 * each for each in seconds)
    print(
        f"{name:<20} {len(ordered):>4} Jobs, reaction in ms:  median {statistics.median(ordered):8.1f}  "
        f"fastest {ordered[0]:8.1f}  slowest {ordered[-1]:8.1f}"
    )


def _wait(cluster: Cluster, reference: Reference) -> object:
    return wait(cluster, reference, until=JOB_COMPLETE, timeout=120)


def _poll(cluster: Cluster, reference: Reference) -> None:
    while not isinstance(JOB_COMPLETE.judge(get(cluster, reference)), Succeeded):
        time.sleep(POLL_SECONDS)


def _make(cluster: Cluster, name: str) -> Reference:
    """Make a Job that does nothing until it is said to be complete."""
    containers = [{"name": "main", "image": "registry.example.com/team/cpu:1"}]
    specification: dict[str, Any] = {
        "suspend": True,
        "template": {"spec": {"restartPolicy": "Never", "containers": containers}},
    }
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": specification}
    return reference_to(apply(cluster, job))


def _complete(cluster: Cluster, name: str) -> None:
    client.BatchV1Api(cluster.client).patch_namespaced_job_status(name, cluster.namespace, COMPLETE)


def _peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


if __name__ == "__main__":
    main()
