"""Run a Kubernetes Job to its end."""

from typing import Any

from kfp.dsl import Artifact, Output

from stepworks.kubeflow.component import component
from stepworks.operations.check_job import check_job


@component("cpu", check=check_job)
def run_job(
    name: str,
    run: str,
    image: str,
    placement: dict[str, Any],
    output: Output[Artifact],
    command: list[str] = [],  # noqa: B006  # KFP reads the defaults; the body does not change them
    arguments: list[str] = [],  # noqa: B006
    environment: dict[str, str] = {},  # noqa: B006
    config_maps: list[dict[str, Any]] = [],  # noqa: B006
    secrets: list[dict[str, Any]] = [],  # noqa: B006
    folder: str = "",
    completions: int = 1,
    parallelism: int = 1,
    permanent_exit_codes: list[int] = [],  # noqa: B006
    active_deadline_seconds: int = 86400,
    scheduling_timeout_seconds: int = 3600,
    termination_grace_period_seconds: int = 30,
) -> None:
    """Run a Job with any image, on nodes that the target has for a role, and hand back what it wrote.

    A retried step takes up the Job of the earlier attempt. When the step fails or is ended, the Job is suspended, so
    that it holds no accelerator. docs/jobs.md shows how a pipeline uses it.

    Args:
        name: What the Job is called; its name in the cluster is `<name>-<run>`.
        run: The id of the run.
        image: The image; `image_of(name)` is one of the target's.
        placement: Where its pods run, with which mounts: `placement_of(role, mounts=[...])`.
        output: The folder that the Job wrote; without `folder` a folder with `job.json`, the finished Job.
        command: What runs in place of the image's entry point.
        arguments: Its arguments; Kubernetes puts a variable's value in place of `$(NAME)`.
        environment: Environment variables.
        config_maps: ConfigMaps as variables or files, each as a target writes it: `name`, and `env` or `mount_path`.
        secrets: Secrets, likewise.
        folder: The folder that the Job writes into, in a ReadWriteMany claim that the Job and this step mount. The Job
            finds it in the environment variable STEPWORKS_OUTPUT. Its `result.json` becomes metadata of the output.
        completions: How many pods must succeed; each of several finds its number in JOB_COMPLETION_INDEX.
        parallelism: How many of them run at once.
        permanent_exit_codes: Exit codes after which nothing is tried again.
        active_deadline_seconds: After how long the Job is ended, the wait for nodes included.
        scheduling_timeout_seconds: How long it may wait for nodes.
        termination_grace_period_seconds: How long a pod has from SIGTERM to SIGKILL.
    """
    from pathlib import Path

    from stepworks.kube.builders.job import job_spec
    from stepworks.operations.in_cluster import connect_from_step, resolve_placement
    from stepworks.operations.run_job import run_job as run_to_its_end
    from stepworks.placement.pod_placement import PodPlacement

    cluster = connect_from_step("a Job")
    given = PodPlacement.from_json(placement)
    spec = job_spec(
        image=image,
        command=command,
        arguments=arguments,
        environment=environment,
        config_maps=config_maps,
        secrets=secrets,
        placement=resolve_placement(given),
        mounts=given.mounts_of(run),
        completions=completions,
        parallelism=parallelism,
        permanent_exit_codes=permanent_exit_codes,
        active_deadline_seconds=active_deadline_seconds,
        termination_grace_period_seconds=termination_grace_period_seconds,
    )
    output.metadata.update(
        run_to_its_end(
            cluster,
            spec,
            name=name,
            run=run,
            folder=folder,
            output=Path(output.path),
            scheduling_timeout=scheduling_timeout_seconds,
        )
    )
