"""How a step reaches the cluster in which it makes objects, and what it was told of it."""

from __future__ import annotations

import os
from pathlib import Path

from stepworks.errors import ConfigurationError
from stepworks.kube.api.cluster import Cluster, connect
from stepworks.placement.placement import Placement
from stepworks.placement.pod_placement import PodPlacement
from stepworks.placement.target import Target
from stepworks.supervisor.client import SupervisorClient

KUBECONFIG_VARIABLE = "KUBECONFIG"
TARGET_VARIABLE = "STEPWORKS_TARGET"
"""Names the target's file of the cluster that a local run is to use, since no target was compiled for."""


def connect_from_step(what: str) -> Cluster:
    """Connect a step to the cluster that it makes something in; see `cluster_of_step`.

    Args:
        what: What the step makes, for the message: `a Job`.

    Raises:
        ConfigurationError: The run is a local one and no kubeconfig is named; or there is no usable cluster.
    """
    cluster = cluster_of_step()
    if cluster is None:
        raise ConfigurationError(
            f"The step makes {what} in a Kubernetes cluster, and this run is on a laptop",
            received=f"no {KUBECONFIG_VARIABLE} in the environment",
            expected="a run in Kubeflow, or a cluster that is named for this run",
            what_to_do=f"Run the pipeline in Kubeflow: stepworks run PIPELINE --host ADDRESS. Or name a cluster: "
            f"{KUBECONFIG_VARIABLE}=FILE {TARGET_VARIABLE}=targets/NAME.yaml stepworks run PIPELINE",
        )
    return cluster


def cluster_of_step() -> Cluster | None:
    """Connect a step to the cluster that it runs in, or that its local run was given; None if it was given none.

    A local run is not in a cluster, and makes something in one only if the kubeconfig is named for it: the one that
    happens to be in the home folder may be that of production.

    Raises:
        ConfigurationError: There is no usable cluster.
    """
    if not SupervisorClient.from_environment():
        return connect()
    kubeconfig = os.environ.get(KUBECONFIG_VARIABLE)
    return connect(kubeconfig=Path(kubeconfig)) if kubeconfig else None


def resolve_placement(given: PodPlacement) -> Placement:
    """The placement of the pods that a step makes.

    It is that of the target which was compiled for, or, in a local run, of the one that the environment names.

    Raises:
        ConfigurationError: None was compiled for, and the environment names no file of one; or it lacks the role, or
            mounts claims, which a local run cannot do.
        NotFoundError: There is no such target file.
    """
    if given.placement:
        return given.placement
    target = os.environ.get(TARGET_VARIABLE)
    if not target:
        raise ConfigurationError(
            f"Which nodes the role {given.role} gets is not known in a local run",
            received=f"no {TARGET_VARIABLE} in the environment",
            expected="the target file of the cluster",
            what_to_do=f"Name it: {TARGET_VARIABLE}=targets/NAME.yaml stepworks run PIPELINE",
        )
    if given.claims:
        raise ConfigurationError(
            "A local run has folders in place of claims, and pods in a cluster cannot mount them",
            received=f"pods that mount {', '.join(given.claims)}",
            expected="pods without claims, or a run in Kubeflow",
            what_to_do="Run the pipeline in Kubeflow: stepworks run PIPELINE --host ADDRESS",
        )
    if not target.endswith((".yaml", ".yml")):
        raise ConfigurationError(
            f"{TARGET_VARIABLE} names no target file",
            received=target,
            expected="the path of a file, such as targets/a100.yaml",
            what_to_do=f"Name it: {TARGET_VARIABLE}=targets/{Path(target).name}.yaml",
        )
    return Target.read(Path(target)).placement(given.role)
