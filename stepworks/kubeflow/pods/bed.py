"""Which clusters see the folders of this machine."""

from __future__ import annotations

from stepworks.errors import ConfigurationError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import list_objects
from stepworks.kube.api.references import Selection

NODE_LABEL = "testbed.stepworks.dev/node"
"""What kind a node of a test bed is."""
PROCESS_NODE = "process"
"""The kind that runs a pod's containers as processes of this machine."""


def require_test_bed(cluster: Cluster) -> None:
    """See that the cluster has nodes on which a pod finds this machine's folders.

    Raises:
        ConfigurationError: It has none.
        AccessDeniedError: Its nodes may not be listed.
        ClusterError: The API server fails or does not answer.
    """
    selection = Selection("v1", "Node", labels=f"{NODE_LABEL}={PROCESS_NODE}")
    if not list_objects(cluster, selection):
        raise ConfigurationError(
            "The cluster is no test bed",
            received=f"{cluster.client.configuration.host}, without a node labelled {NODE_LABEL}={PROCESS_NODE}",
            expected="a control plane of this machine: the steps' artifacts are in folders that its pods mount",
            what_to_do="Start one with make cluster-up, and name its kubeconfig by KUBECONFIG. In any other cluster, "
            "run the pipeline in Kubeflow: stepworks run PIPELINE --host ADDRESS",
        )
