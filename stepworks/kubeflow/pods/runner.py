"""Running a step as a pod, with its output in the step's log."""

from __future__ import annotations

import math
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepworks.errors import (
    NotFoundError,
    ObjectDeletedError,
    ObjectFailedError,
    StepworksError,
    WaitTimeoutError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, delete
from stepworks.kube.api.pods import follow_log
from stepworks.kube.api.references import reference_to
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.diagnosis.obstacle_check import ObstacleCheck
from stepworks.kube.kinds.judgement import Pending
from stepworks.kube.kinds.manifests import Manifest, status_of
from stepworks.kube.kinds.rules import GONE, POD_SUCCEEDED
from stepworks.kube.runs.belonging import RUN_LABEL
from stepworks.kube.waiting.wait import wait
from stepworks.kubeflow.local.runner import Ended
from stepworks.kubeflow.local.steps import Step
from stepworks.kubeflow.pods.bed import NODE_LABEL, PROCESS_NODE
from stepworks.kubeflow.pods.task_pod import task_pod
from stepworks.placement.names import run_object_name

SCHEDULING_SECONDS = 120.0
"""How long a pod may wait for room: on a test bed only other pods that end make some."""
_GONE_SECONDS = 60.0
"""How long a pod that is ended may take: its grace period is 30 seconds."""
_LOG_SECONDS = 10.0
"""How long the rest of a log may take when the pod has ended."""
_TOLD_BY_ITS_LOG = ("Error", "Completed")
"""The reasons of a container that ended by its own exit code."""


@dataclass(frozen=True)
class Executors:
    """What the IR says of each component's executor.

    Attributes:
        containers: The executors by their component's name.
        settings: What the platform document says of them; a component that has nothing there is missing.
    """

    containers: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Mapping[str, Any]]


class PodRunner:
    """Runs each attempt of a step in a pod of its own, on a node that sees this machine's folders.

    Args:
        cluster: Where.
        executors: What the pods are made of.
        run: The run's id, in short; the pods are named by it.
        folder: The run's folder, which each pod has at the same path.
        service_account: The ServiceAccount of the pods.
        scheduling_seconds: How long a pod may wait for room.
    """

    def __init__(
        self,
        cluster: Cluster,
        executors: Executors,
        *,
        run: str,
        folder: Path,
        service_account: str,
        scheduling_seconds: float = SCHEDULING_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._executors = executors
        self._run = run
        self._folder = folder
        self._service_account = service_account
        self._scheduling_seconds = scheduling_seconds
        self._started: Counter[str] = Counter()

    def start(
        self,
        step: Step,
        command: list[str],
        environment: Mapping[str, str],  # noqa: ARG002  # the pod has that of the IR
        log: Path,
    ) -> PodAttempt:
        """Prepare an attempt; its pod is made when it is waited for.

        Args:
            step: The step.
            command: What kfp would run here; of it the executor input is taken, the rest is as the IR has it.
            environment: The container's variables, which the IR has, too.
            log: Where the pod's output is added.

        Raises:
            ConfigurationError: The executor asks for what only Kubeflow gives.
        """
        pod = task_pod(
            run_object_name("Pod", self._unused_name(step), self._run),
            self._executors.containers[step.component],
            self._executors.settings.get(step.component, {}),
            command[command.index("--executor_input") + 1],
            service_account=self._service_account,
            folder=self._folder,
        )
        pod["metadata"].setdefault("labels", {})[RUN_LABEL] = self._run
        pod["spec"].setdefault("nodeSelector", {})[NODE_LABEL] = PROCESS_NODE
        return PodAttempt(self._cluster, pod, log, self._scheduling_seconds)

    def _unused_name(self, step: Step) -> str:
        """A name for the next attempt: the pod of the one before may still be on its way out."""
        name = step.name.replace(".", "-")
        self._started[name] += 1
        return name if self._started[name] == 1 else f"{name}-try-{self._started[name]}"


class PodAttempt:
    """An attempt of a step, as a pod.

    Args:
        cluster: Where.
        pod: Its manifest.
        log: Where its output is added.
        scheduling_seconds: How long it may wait for room.
    """

    def __init__(self, cluster: Cluster, pod: Manifest, log: Path, scheduling_seconds: float) -> None:
        self._cluster = cluster
        self._pod = pod
        self._reference = reference_to(pod)
        self._log = log
        self._check = ObstacleCheck(cluster, self._reference, scheduling_seconds, self._say)
        self._ending = threading.Event()
        self._ended_by_itself = False
        self._follower: threading.Thread | None = None

    def wait(self) -> Ended:
        """Make the pod, and wait until it has ended.

        Raises:
            WorkloadFailedError: It finds no node, or its image is missing; the log has the page, too.
            ObjectDeletedError: Somebody deleted it.
            ClusterError: The API server refuses, fails or does not answer.
        """
        created = create(self._cluster, self._pod)
        if self._ending.is_set():  # before there was a pod to delete
            return Ended(-signal.SIGTERM)
        try:
            ended = wait(
                self._cluster,
                self._reference,
                until=POD_SUCCEEDED,
                timeout=math.inf,
                uid=str(created["metadata"]["uid"]),
                while_waiting=self._look,
            )
        except ObjectFailedError as error:
            self._follow()
            self._finish_log()
            return self._failed(error)
        except (ObjectDeletedError, NotFoundError):
            if self._ending.is_set():
                return Ended(-signal.SIGTERM)
            raise
        except StepworksError as error:
            self._say(f"\n{error}")
            raise
        self._follow()
        self._finish_log()
        self._ended_by_itself = True
        return Ended(exit_code_of(ended) or 0)

    def signal(self, number: int) -> None:
        """Have the pod deleted; its node kills it when the pod's own grace period is over."""
        if number == signal.SIGTERM and not self._ending.is_set():
            self._ending.set()
            # The handler of a signal may have interrupted a request of this very thread.
            threading.Thread(target=self._delete_in_the_background, daemon=True).start()

    def end(self, deadline: float) -> None:  # noqa: ARG002  # the node knows the pod's grace period
        """Delete the pod; unless it has ended by itself, wait until it is gone.

        Raises:
            ClusterError: The API server refuses, fails or does not answer.
            WaitTimeoutError: The pod does not go.
        """
        if delete(self._cluster, self._reference) and not self._ended_by_itself:
            try:
                wait(self._cluster, self._reference, until=GONE, timeout=_GONE_SECONDS)
            except WaitTimeoutError as error:
                raise diagnose(self._cluster, self._reference, error).error() from error
        self._finish_log()

    def _look(self, present: Manifest, pending: Pending) -> None:
        if status_of(present).get("phase") == "Running":
            self._follow()
        else:
            self._check(present, pending)

    def _failed(self, error: ObjectFailedError) -> Ended:
        self._ended_by_itself = True
        pod = error.manifest or {}
        code = exit_code_of(pod)
        if code is not None and not status_of(pod).get("reason") and _terminated(pod)["reason"] in _TOLD_BY_ITS_LOG:
            return Ended(code)
        page = str(diagnose(self._cluster, self._reference, error))
        self._say(f"\n{page}")
        return Ended(1 if code is None else code, page)

    def _follow(self) -> None:
        if self._follower is None:
            self._follower = threading.Thread(target=self._write_log, name=f"log of {self._reference}", daemon=True)
            self._follower.start()

    def _write_log(self) -> None:
        with self._log.open("ab", buffering=0) as file:
            try:
                for text in follow_log(self._cluster, self._reference.name):
                    file.write(text)
            except NotFoundError:  # it was deleted
                return
            except StepworksError as error:
                file.write(f"\nThe log of the {self._reference} cannot be followed.\n{error}\n".encode())

    def _finish_log(self) -> None:
        if self._follower is not None:
            self._follower.join(_LOG_SECONDS)

    def _delete_in_the_background(self) -> None:
        try:
            delete(self._cluster, self._reference)
        except StepworksError as error:
            self._say(str(error))  # `end` tries again, and raises

    def _say(self, text: str) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the step's container ended; empty if it has not."""
    containers = status_of(pod).get("containerStatuses") or [{}]
    terminated: Mapping[str, Any] = (containers[0].get("state") or {}).get("terminated") or {}
    return terminated


def exit_code_of(pod: Mapping[str, Any]) -> int | None:
    """With what the step's container ended; negative for a signal, None if it did not end by itself.

    A shell reports a signal as 128 plus its number, and so does Kubernetes.
    """
    code = _terminated(pod).get("exitCode")
    if code is None:
        return None
    known = {128 + each for each in signal.Signals}
    return 128 - int(code) if code in known else int(code)
