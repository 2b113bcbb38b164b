"""Attempts of a step, and the Job of a run that they make, for the tests of their lifetime."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import JOB_COMPLETE
from stepworks.kube.runs.belonging import RUN_LABEL, SPEC_ANNOTATION, spec_hash
from stepworks.kube.runs.lifetime import run_to_end
from tests.unit.kube.api_server import ApiServer

RUN = "0f8d5a52"
FAILED = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed"}
COMPLETE = {"type": "Complete", "status": "True"}


def job(**metadata: Any) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "train", **metadata},
        "spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example.com/train:1"}]}}},
    }


def job_of_run(labels: dict[str, str] | None = None, **metadata: Any) -> Manifest:
    """The Job as an earlier attempt made it."""
    annotations = {SPEC_ANNOTATION: spec_hash(job())}
    return job(labels={RUN_LABEL: RUN, **(labels or {})}, annotations=annotations, **metadata)


def present(server: ApiServer) -> Manifest:
    return server.objects["jobs", "train"]


def set_status(server: ApiServer, *conditions: dict[str, Any]) -> None:
    server.put({**present(server), "status": {"conditions": list(conditions)}}, "jobs")


def put_pod(server: ApiServer, exit_code: int = 0, *, name: str = "train-a", **status: Any) -> None:
    ended = {"exitCode": exit_code, "reason": "Error", "finishedAt": "2026-01-01T00:00:05Z"}
    containers = [{"name": "main", "state": {"terminated": ended}}] if exit_code else []
    server.put(
        {
            "metadata": {
                "name": name,
                "labels": {"batch.kubernetes.io/job-name": "train"},
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "status": {"phase": "Failed" if exit_code else "Pending", "containerStatuses": containers, **status},
        },
        "pods",
    )


class Attempt:
    """One attempt of a step."""

    def __init__(self, cluster: Cluster) -> None:
        self.said: list[str] = []
        self.begun = threading.Event()
        self.error: BaseException | None = None
        self.manifest: Manifest = {}
        self._cluster = cluster

    def say(self, line: str) -> None:
        self.said.append(line)
        if line.startswith(("Made", "Adopted", "Waiting for")):
            self.begun.set()

    def run(self, **changed: Any) -> Manifest:
        settings = {"run": RUN, "until": JOB_COMPLETE, "timeout": 1000, "on_failure": "suspend"} | changed
        manifest = settings.pop("manifest", job())
        self.manifest = run_to_end(self._cluster, manifest, say=self.say, **settings)
        return self.manifest

    @contextmanager
    def running(self, server: ApiServer, **changed: Any) -> Iterator[None]:
        """Run it in a thread, whose watch is open when the block begins, and which has ended when it ends."""

        def work() -> None:
            try:
                self.run(**changed)
            except BaseException as error:  # noqa: BLE001  # for the test to look at
                self.error = error

        watched = server.open_watches
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert self.begun.wait(20)
        server.wait_for_watches(watched + 1)
        yield
        thread.join(20)
        assert not thread.is_alive()
        server.wait_for_watches(watched)
