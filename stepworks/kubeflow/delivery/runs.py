"""Runs in Kubeflow: start one, and follow it to its end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kfp_server_api as api

from stepworks.errors import DeliveryError, StepFailedError, UserError
from stepworks.kubeflow.delivery.calls import NoAnswerError, settle
from stepworks.kubeflow.delivery.mark import Mark
from stepworks.kubeflow.delivery.server import ENDED, Kubeflow
from stepworks.kubeflow.delivery.upload import Uploaded

POLL_SECONDS = 5
"""Between two looks at a run that goes on; the first looks come sooner, since a wrong run fails soon."""

OUTAGE_LOOKS = 60
"""How many looks in a row may fail while a run is followed: some ten minutes, since each has tries of its own."""

_GOOD = {"SUCCEEDED", "SKIPPED"}
_CAME_BADLY = {"FAILED", "ERROR", "CANCELED"}


@dataclass(frozen=True)
class TaskState:
    """What became of a task of a run.

    Attributes:
        name: The task.
        state: `PENDING`, `RUNNING`, `SUCCEEDED`, `SKIPPED` (taken from the cache), `FAILED`, `CANCELED`, ...
        seconds: How long it took; None while it runs.
        message: Why it failed, as far as Kubeflow says.
        pod: Its pod, to read the log of.
    """

    name: str
    state: str
    seconds: float | None = None
    message: str = ""
    pod: str = ""


def experiment_id(server: Kubeflow, name: str) -> str:
    """The identifier of an experiment, which is made when there is none of that name."""
    found = server.find_experiment(name) or settle(
        lambda: server.create_experiment(name), lambda: server.find_experiment(name)
    )
    return str(found.experiment_id)


def start_run(
    server: Kubeflow,
    uploaded: Uploaded,
    arguments: Mapping[str, Any],
    *,
    experiment: str,
    service_account: str | None = None,
) -> api.V2beta1Run:
    """Start one run of a version, also when the answer to the request is lost.

    Args:
        server: The API server.
        uploaded: The version.
        arguments: The parameters that differ from their defaults.
        experiment: The name of the experiment.
        service_account: The ServiceAccount of its pods; Kubeflow's own when None.
    """
    identifier = experiment_id(server, experiment)
    version = uploaded.version
    mark = Mark(f"run/{version.name}", str(version.pipeline_version_id), uuid.uuid4().hex)
    run = api.V2beta1Run(
        display_name=f"{uploaded.pipeline} {version.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        description=mark.describe("Started by `stepworks run`"),
        experiment_id=identifier,
        pipeline_version_reference=_reference(version),
        runtime_config=api.V2beta1RuntimeConfig(parameters=dict(arguments)),
        service_account=service_account,
    )
    try:
        return settle(
            lambda: server.create_run(run),
            lambda: server.find_run(identifier, run.display_name, mark.operation),
        )
    except NoAnswerError as error:
        raise DeliveryError(
            f"Kubeflow did not say whether it has started {run.display_name}",
            received=error.received,
            what_to_do=f"Look at {server.host} whether it is there, before you start it again.",
        ) from error


def _reference(version: api.V2beta1PipelineVersion) -> api.V2beta1PipelineVersionReference:
    return api.V2beta1PipelineVersionReference(
        pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
    )


def follow(
    server: Kubeflow,
    run_id: str,
    show: Callable[[TaskState], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for the end of a run; tell of each task that changes.

    Args:
        server: The API server.
        run_id: The run.
        show: Is called with each task whose state is another than before.
        sleep: Waits some seconds.

    Raises:
        StepFailedError: The run failed or was cancelled; the message names the tasks and why.
        DeliveryError: The API server stopped to answer; the run goes on.
    """
    shown: dict[str, str] = {}
    pause = 0.5
    while True:
        run = _look(server, run_id, sleep)
        tasks = task_states(run)
        for task in tasks:
            if shown.get(task.name) != task.state:
                shown[task.name] = task.state
                show(task)
        if run.state in ENDED:
            break
        sleep(pause)
        pause = min(2 * pause, POLL_SECONDS)
    if run.state not in _GOOD:
        raise _failed(server, run, [task for task in tasks if task.state in _CAME_BADLY])


def _look(server: Kubeflow, run_id: str, sleep: Callable[[float], None]) -> api.V2beta1Run:
    """The run as it stands, also after an outage of some minutes."""
    for _ in range(OUTAGE_LOOKS):
        try:
            return server.run(run_id)
        except NoAnswerError:
            sleep(POLL_SECONDS)
        except UserError as error:  # a token that has expired meanwhile, for one
            error.add_note(f"The run goes on: {server.run_url(run_id)}")
            raise
    raise DeliveryError(
        f"Kubeflow Pipelines has not answered for {OUTAGE_LOOKS} looks at the run",
        expected="an answer within some minutes",
        what_to_do=f"The run goes on; do not start it again. Look at {server.run_url(run_id)}",
    )


def task_states(run: api.V2beta1Run) -> list[TaskState]:
    """The tasks of a run, by name in the order of their start; of several attempts the last.

    Kubeflow lists the pods of its drivers and launchers beside them, which are left out.
    """
    details = run.run_details.task_details if run.run_details else None
    ordered = sorted(
        details or [], key=lambda each: (each.create_time is None, each.create_time and each.create_time.timestamp())
    )
    states = {}
    for each in ordered:
        name = str(each.display_name or "")
        if not name or name in {"root", "executor"} or name == run.display_name or name.endswith("-driver"):
            continue
        states[name] = TaskState(
            name,
            str(each.state or "PENDING"),
            (each.end_time - each.start_time).total_seconds() if _over(each) else None,
            str(each.error.message or "") if each.error else "",
            str(each.pod_name or ""),
        )
    return list(states.values())


def _over(each: api.V2beta1PipelineTaskDetail) -> bool:
    """Whether a task has ended; the API writes 1970 for a time that has not come."""
    return bool(each.start_time and each.end_time and each.end_time >= each.start_time and each.end_time.year > 1970)


def _failed(server: Kubeflow, run: api.V2beta1Run, tasks: list[TaskState]) -> StepFailedError:
    told = [f"{task.name}: {task.message or task.state.lower()}" for task in tasks]
    message = run.error.message if run.error else ""
    pod = next((task.pod for task in tasks if task.pod), "")
    namespace = f" -n {server.namespace}" if server.namespace else ""
    log = f", or read the log: kubectl logs{namespace} {pod} -c main" if pod else ""
    return StepFailedError(
        f"The run {run.display_name} {'was cancelled' if run.state == 'CANCELED' else 'failed'}",
        received="; ".join(told) or message or f"the state {run.state}",
        what_to_do=f"Look at {server.run_url(run.run_id)}{log}",
    )
