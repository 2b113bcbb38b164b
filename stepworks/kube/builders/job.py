"""A Job: any image and command, on the nodes of a placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from stepworks.kube.builders.pod_template import owner_settings
from stepworks.kube.builders.workload import WorkloadSpec, pod_template
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.runs.belonging import RUN_LABEL, check_run
from stepworks.placement.names import LONGEST_NAME, run_object_name
from stepworks.settings_file import validated

CONTAINER = "main"
"""The name of a Job's only container."""

ExitCode = Annotated[int, Field(ge=1, le=255)]


class JobSpec(WorkloadSpec):
    """What a Job runs, where, and when it counts as failed.

    How many failed pods it replaces is said by the placement (`retry.count`), as are the ServiceAccount and Kueue's
    queue. A pod that was preempted or evicted, or lost its node, is replaced without being counted.

    Attributes:
        completions: How many pods must succeed. Of several each has its index, from 0, in JOB_COMPLETION_INDEX.
        parallelism: How many of them may run at once.
        ttl_seconds_after_finished: How long it stays after its end, for its logs and for a retried step; then it is
            deleted.
        permanent_exit_codes: Exit codes that end it at once, since another try would end the same.
        replaces_disrupted: Whether a pod that was preempted, evicted or lost its node is replaced; otherwise that is
            a failure as any other.
    """

    completions: int = Field(default=1, ge=1, le=100_000)
    parallelism: int = Field(default=1, ge=1)
    ttl_seconds_after_finished: int = Field(default=86_400, ge=0)
    permanent_exit_codes: tuple[ExitCode, ...] = ()
    replaces_disrupted: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.parallelism > self.completions:
            raise ValueError(
                f"parallelism is {self.parallelism} and completions is {self.completions}: no more pods run at once "
                f"than have to succeed"
            )
        if len(set(self.permanent_exit_codes)) != len(self.permanent_exit_codes):
            raise ValueError(f"permanent_exit_codes has a code twice: {list(self.permanent_exit_codes)}")
        return self


def job_spec(**given: Any) -> JobSpec:
    """Make the specification of a Job from what a step or a command was given.

    Raises:
        ConfigurationError: A value is wrong; the message names the field.
    """
    return validated(
        JobSpec,
        given,
        problem="The Job is wrong",
        expected="the fields that docs/jobs.md describes",
        what_to_do="Correct the value; nothing was made.",
    )


def build_job(spec: JobSpec, *, name: str, run: str) -> Manifest:
    """Build the Job of a run.

    Args:
        spec: What it runs and where.
        name: What it is called in the pipeline; its name is `<name>-<run>`, see `run_object_name`.
        run: The run's id.

    Raises:
        ConfigurationError: The name or the run's id is not valid, or the placement cannot be applied.
    """
    # A pod of an indexed Job has the name, a dash and its index as its host name.
    index = len(f"-{spec.completions - 1}") if spec.completions > 1 else 0
    template = job_template(spec, {RUN_LABEL: check_run(run)})
    full_name = run_object_name("Job", name, run, longest=LONGEST_NAME - index)
    template["metadata"] = {"name": full_name, **template.get("metadata", {})}
    return {"apiVersion": "batch/v1", "kind": "Job", **template}


def job_template(spec: JobSpec, labels: Mapping[str, str]) -> Manifest:
    """Everything of a Job but its kind and its name; a CronJob has it as its `jobTemplate`.

    Args:
        spec: What it runs and where.
        labels: Labels of the Job and of its pods.

    Raises:
        ConfigurationError: The placement cannot be applied.
    """
    owner = owner_settings(spec.placement)
    job_labels = {**labels, **owner.labels}
    job: Manifest = {"metadata": {"labels": job_labels}} if job_labels else {}
    job["spec"] = {
        "completions": spec.completions,
        "parallelism": spec.parallelism,
        "completionMode": "Indexed" if spec.completions > 1 else "NonIndexed",
        "backoffLimit": owner.backoff_limit,
        "activeDeadlineSeconds": spec.active_deadline_seconds,
        "ttlSecondsAfterFinished": spec.ttl_seconds_after_finished,
        "suspend": spec.suspend,
        **_failure_policy(spec),
        # A pod failure policy judges pods, not restarted containers.
        "template": pod_template(spec, labels, container=CONTAINER),
    }
    return job


def _failure_policy(spec: JobSpec) -> Manifest:
    rules: list[Manifest] = []
    if spec.replaces_disrupted:  # first: a preempted pod may end with any exit code
        rules.append({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]})
    if spec.permanent_exit_codes:
        codes = {"containerName": CONTAINER, "operator": "In", "values": sorted(spec.permanent_exit_codes)}
        rules.append({"action": "FailJob", "onExitCodes": codes})
    return {"podFailurePolicy": {"rules": rules}} if rules else {}
