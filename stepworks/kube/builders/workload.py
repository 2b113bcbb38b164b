"""What Jobs and training jobs have in common: pods with one container on the nodes of a placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from stepworks.kube.builders.pod_template import placed_pod_template
from stepworks.kube.kinds.manifests import Manifest
from stepworks.placement.names import Image
from stepworks.placement.placement import SIDECAR_ANNOTATION, Placement
from stepworks.placement.storage import ConfigMapSource, Mount, MountPath, SecretSource
from stepworks.settings_file import Setting

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

DEFAULT_GRACE_SECONDS = 30
"""How long Kubernetes gives a pod from SIGTERM to SIGKILL where nobody says otherwise."""


class Token(Setting):
    """A token of the pod's ServiceAccount for somebody who is not the API server, as a file that Kubernetes renews.

    Attributes:
        audience: Whom it is for.
        mount_path: The folder of the file, which is named `token`.
    """

    audience: str = Field(min_length=1)
    mount_path: MountPath


LONGEST_DEADLINE = 2**31 - 1
"""In seconds: what Kubernetes takes for a pod, 68 years."""


def _check_deadline(seconds: int) -> int:
    if not 1 <= seconds <= LONGEST_DEADLINE:
        raise ValueError(f"{seconds} is not from 1 to {LONGEST_DEADLINE} seconds")
    return seconds


Deadline = Annotated[int, AfterValidator(_check_deadline)]


class WorkloadSpec(Setting):
    """What the pods of a job run, where, and with what.

    Attributes:
        image: The image.
        command: What the container runs in place of the image's entry point.
        arguments: The arguments of the command or the entry point. Kubernetes puts a variable's value in place of
            `$(NAME)`.
        environment: Environment variables.
        config_maps: ConfigMaps as variables or files, beside those of the placement.
        secrets: Secrets as variables or files, beside those of the placement.
        tokens: Tokens of the ServiceAccount for others than the API server.
        placement: Where the pods run and with what.
        mounts: The claims that they mount.
        active_deadline_seconds: After how long all of it is ended, the wait for nodes included. There is always one:
            nobody may be left to end a job that hangs.
        suspend: Whether it waits to be resumed before it makes pods.
        termination_grace_period_seconds: How long a pod has from SIGTERM to SIGKILL.
    """

    image: Image
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: dict[VariableName, str] = Field(default_factory=dict)
    config_maps: tuple[ConfigMapSource, ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    tokens: tuple[Token, ...] = ()
    placement: Placement
    mounts: tuple[Mount, ...] = ()
    active_deadline_seconds: Deadline = 86_400
    suspend: bool = False
    termination_grace_period_seconds: int = Field(default=DEFAULT_GRACE_SECONDS, ge=0)


class TrainingJobSpec(WorkloadSpec):
    """What a TrainJob, a PyTorchJob or a TFJob runs: the same pod on each of several nodes.

    How often all of it is begun anew after a failure is said by the placement (`retry.count`), and so are the processes
    of a pod, as are the ServiceAccount and Kueue's queue.

    Attributes:
        nodes: How many pods.
        least_nodes: With how many of them a PyTorchJob goes on, in processes that bear another number of them; None for
            all of them.
        parameter_servers: How many pods of a TFJob hold weights, on top of the nodes, for a script with the strategy
            ParameterServerStrategy.
        evaluator: Whether one more pod of a TFJob evaluates checkpoints meanwhile.
    """

    nodes: int = Field(default=1, ge=1, le=10_000)
    least_nodes: int | None = Field(default=None, ge=1)
    parameter_servers: int = Field(default=0, ge=0)
    evaluator: bool = False

    @property
    def processes_per_node(self) -> int:
        """How many processes each pod runs: one for each accelerator, unless the placement says otherwise."""
        return self.placement.process_count

    @property
    def restarts(self) -> int:
        """How often all of it is begun anew after a failure."""
        return self.placement.retry.count if self.placement.retry else 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        reserved = sorted(name for name in self.environment if name.startswith("PET_"))
        if reserved:
            raise ValueError(
                f"environment has {', '.join(reserved)}: torchrun reads PET_* variables, and the controller sets them"
            )
        if self.least_nodes and self.least_nodes > self.nodes:
            raise ValueError(f"least_nodes is {self.least_nodes} and nodes is {self.nodes}: it is at most all of them")
        return self


def pod_template(
    spec: WorkloadSpec, labels: Mapping[str, str], *, container: str, restart_policy: str | None = "Never"
) -> Manifest:
    """The template of a job's pods.

    Args:
        spec: What they run and where.
        labels: Labels of the pods.
        container: The name of the only container.
        restart_policy: What becomes of a container that ends; None where the owner of the pods says it.

    Raises:
        ConfigurationError: The placement cannot be applied.
    """
    worker: Manifest = {"name": container, "image": spec.image}
    if spec.command:
        worker["command"] = list(spec.command)
    if spec.arguments:
        worker["args"] = list(spec.arguments)
    if spec.environment:
        worker["env"] = [{"name": name, "value": value} for name, value in spec.environment.items()]
    pod: Manifest = {
        **({"restartPolicy": restart_policy} if restart_policy else {}),
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "containers": [worker],
    }
    for number, token in enumerate(spec.tokens):
        _mount_token(pod, worker, f"token-{number}", token)
    metadata = {"labels": dict(labels)} if labels else {}
    return placed_pod_template({"metadata": metadata, "spec": pod}, _placement(spec), spec.mounts, container=container)


def with_sources(
    placement: Placement, secrets: tuple[SecretSource, ...], config_maps: tuple[ConfigMapSource, ...]
) -> Placement:
    """A placement with Secrets and ConfigMaps on top of its own."""
    sources = {"secrets": (*placement.secrets, *secrets), "config_maps": (*placement.config_maps, *config_maps)}
    return placement.model_copy(update=sources)


def _placement(spec: WorkloadSpec) -> Placement:
    """The placement with the job's own sources, and without a sidecar: no job completes while one of Istio runs."""
    placement = with_sources(spec.placement, spec.secrets, spec.config_maps)
    return placement.model_copy(
        update={
            "annotations": {SIDECAR_ANNOTATION: "false", **placement.annotations},
            # The controllers of training jobs tell torchrun themselves, and refuse pods that are told already.
            **({"processes": 1} if isinstance(spec, TrainingJobSpec) else {}),
        }
    )


def _mount_token(pod: Manifest, container: Manifest, name: str, token: Token) -> None:
    source = {"serviceAccountToken": {"audience": token.audience, "path": "token", "expirationSeconds": 3600}}
    pod.setdefault("volumes", []).append({"name": name, "projected": {"sources": [source]}})
    container.setdefault("volumeMounts", []).append({"name": name, "mountPath": token.mount_path, "readOnly": True})
