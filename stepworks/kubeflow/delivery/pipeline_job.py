"""A Job that starts a run of a compiled pipeline and follows it to its end, for a CronJob to make.

It is for clusters where Kubeflow's own recurring runs are not wanted, as where every schedule is to be a Kubernetes
object that a GitOps controller applies. `stepworks schedule` makes recurring runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.job import JobSpec, job_spec
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kubeflow.arguments import declared_in_ir, parse_arguments
from stepworks.kubeflow.delivery.login import IN_CLUSTER, IN_CLUSTER_TOKEN, Login
from stepworks.kubeflow.delivery.version_file import VersionFile
from stepworks.kubeflow.placement_of import pod_placement
from stepworks.kubeflow.task_settings import install_command
from stepworks.placement.target import Target

COMPILED_FOLDER = PurePosixPath("/etc/stepworks/compiled")
"""Where the container finds the compiled file; the image holds none."""

_AUDIENCE = "pipelines.kubeflow.org"
_FAMILY = "cpu"
_LARGEST_CONFIG_MAP = 1_000_000
"""In bytes; Kubernetes takes a mebibyte with everything around it."""


def compiled_config_map(file: VersionFile, name: str, *, namespace: str | None = None) -> Manifest:
    """The ConfigMap that brings a compiled file to the container.

    Args:
        file: The compiled file.
        name: The ConfigMap's name.
        namespace: Its namespace; without it, the one that it is applied to.

    Raises:
        ConfigurationError: The file is too large for one.
    """
    text = file.path.read_text(encoding="utf-8")
    if len(text.encode()) > _LARGEST_CONFIG_MAP:
        raise ConfigurationError(
            f"{file.path} is too large for a ConfigMap",
            received=f"{len(text.encode())} bytes",
            expected=f"at most {_LARGEST_CONFIG_MAP} bytes",
            what_to_do="Use a recurring run of Kubeflow: stepworks schedule",
        )
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {f"{file.target}.yaml": text}}


def pipeline_job(
    file: VersionFile,
    target: Target,
    login: Login,
    assignments: Sequence[str] = (),
    *,
    config_map: str,
    role: str,
    experiment: str,
    **settings: Any,
) -> JobSpec:
    """The Job that starts a run of a compiled pipeline and follows it; it fails when the run does.

    A pod of it that fails or is lost is not replaced: the run that it started goes on, and another pod would start a
    second one.

    Args:
        file: The compiled file.
        target: Its target, which has the image and the placement.
        login: How the pod reaches Kubeflow Pipelines.
        assignments: The parameters of the run that differ from their defaults, as `name=value`.
        config_map: The ConfigMap that holds the file, see `compiled_config_map`.
        role: What the pod needs, as the target names it. Its timeout is that of a task, and left out.
        experiment: The experiment of the run.
        settings: Further fields of the `JobSpec`.

    Raises:
        ParameterError: A parameter is unknown or has a wrong value.
        ConfigurationError: The target lacks the image or the role; a field is wrong; or the pod could not log in.
    """
    parse_arguments(file.pipeline, declared_in_ir(file.ir.inputs), assignments)
    arguments = ["stepworks", "run", file.pipeline, "--version", file.version, "--target", file.target]
    arguments += ["--compiled", str(COMPILED_FOLDER), "--experiment", experiment, *_way_in(login)]
    arguments += [part for each in assignments for part in ("--parameter", each)]
    requirement = target.requirement(_FAMILY)
    command = install_command(requirement) if requirement else [arguments.pop(0)]
    placement = pod_placement(target, role).placement
    assert placement is not None
    token_folder = str(PurePosixPath(IN_CLUSTER_TOKEN).parent)
    return job_spec(
        image=target.image(_FAMILY),
        command=command,
        arguments=arguments,
        placement=placement.model_copy(update={"retry": None, "timeout_seconds": None}),
        config_maps=[{"name": config_map, "mount_path": str(COMPILED_FOLDER / file.pipeline / file.version)}],
        tokens=[{"audience": _AUDIENCE, "mount_path": token_folder}] if login.token_from else [],
        replaces_disrupted=False,
        **settings,
    )


def _way_in(login: Login) -> list[str]:
    """The options by which the command in the pod reaches Kubeflow."""
    if login.token_from not in (None, IN_CLUSTER) or login.ca_file:
        raise ConfigurationError(
            "The pod of a CronJob has no such credentials",
            received=f"--token-from {login.token_from}" if login.token_from else f"--ca-file {login.ca_file}",
            expected=f"--token-from {IN_CLUSTER}, or no login",
            what_to_do=f"Let the pod show its own token: --token-from {IN_CLUSTER} --service-account NAME",
        )
    if login.token_from and not login.namespace:
        raise ConfigurationError(
            "Where Kubeflow has several users, a run is in the namespace of one",
            received="no namespace",
            expected="the profile's namespace",
            what_to_do="Name it: --namespace team-a",
        )
    options = ["--host", login.host]
    return [*options, "--namespace", str(login.namespace), "--token-from", IN_CLUSTER] if login.token_from else options
