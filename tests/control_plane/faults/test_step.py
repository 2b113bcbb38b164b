"""What becomes of the Job when its step is killed, and what the next attempt does."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import find, get
from stepworks.kube.api.references import Reference
from testbed.bed import Bed
from tests.control_plane.jobs import job_of_run, run
from tests.control_plane.pods import holding, let_succeed, running
from tests.waiting import wait_for

JOB = Reference("batch/v1", "Job", "train")
CODE = """
import sys
from pathlib import Path
from stepworks.kube.api.cluster import connect
from tests.control_plane.jobs import job_of_run, run
print("started", flush=True)
run(connect(kubeconfig=Path(sys.argv[1]), namespace=sys.argv[2]), job_of_run("train", "running"))
"""


@pytest.fixture
def step(bed: Bed, cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    """The process of a step that waits for a Job whose pod runs."""
    command = [sys.executable, "-c", CODE, str(bed.kubeconfig), cluster.namespace]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_sigterm_suspends_the_job(cluster: Cluster, step: subprocess.Popen[str]) -> None:
    running(cluster)
    step.send_signal(signal.SIGTERM)
    wait_for("the Job is suspended", lambda: get(cluster, JOB)["spec"].get("suspend"))
    wait_for("its pod is gone", lambda: not holding(cluster))
    assert step.wait(10) == 143
    assert "was suspended, so that it holds nothing" in (step.stdout.read() if step.stdout else "")


def test_after_sigterm_the_next_attempt_resumes_the_job(cluster: Cluster, step: subprocess.Popen[str]) -> None:
    running(cluster)
    uid = get(cluster, JOB)["metadata"]["uid"]
    step.send_signal(signal.SIGTERM)
    step.wait(10)
    wait_for("its pod is gone", lambda: not holding(cluster))
    _finish_and_adopt(cluster, uid)


def test_after_sigkill_the_next_attempt_adopts_the_running_job(cluster: Cluster, step: subprocess.Popen[str]) -> None:
    pod = running(cluster)[0]
    uid = get(cluster, JOB)["metadata"]["uid"]
    step.kill()
    step.wait()
    assert holding(cluster) == [pod]  # it goes on working
    _finish_and_adopt(cluster, uid)


def test_after_sigkill_the_next_attempt_takes_a_finished_job(cluster: Cluster, step: subprocess.Popen[str]) -> None:
    let_succeed(cluster, *running(cluster))
    step.kill()
    step.wait()
    wait_for("the Job ends", lambda: (find(cluster, JOB) or {}).get("status", {}).get("completionTime"))
    uid = get(cluster, JOB)["metadata"]["uid"]
    assert run(cluster, job_of_run("train", "running"))["metadata"]["uid"] == uid


def _finish_and_adopt(cluster: Cluster, uid: str) -> None:
    """Run the step again, let the pod end well, and see that it was the same Job."""
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(run, cluster, job_of_run("train", "running"))
        let_succeed(cluster, *running(cluster))
        job = ended.result(60)
    assert job["metadata"]["uid"] == uid
    assert job["status"]["succeeded"] == 1
    assert not job["spec"].get("suspend")
