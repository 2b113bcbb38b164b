"""Messages as the scheduler of Kubernetes 1.36, and older ones, write them."""

import pytest

from stepworks.kube.diagnosis.scheduling import parse_scheduler_message

SKIPPED = (
    "no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)
ADD_TOLERATION = (
    "If tainted nodes are meant, add a toleration to the placement (`kubectl describe nodes` shows the taints)."
)
SELECTOR = "Correct the node selector of the placement, or label nodes so (`kubectl get nodes --show-labels`)."
FEWER = "Ask for fewer nvidia.com/gpu in a pod than a node has, wait until others end, or add nodes that have them."


@pytest.mark.parametrize(
    ("message", "told", "what_to_do"),
    [
        (
            f"0/3 nodes are available: 3 Insufficient nvidia.com/gpu. {SKIPPED}",
            "3 of 3 nodes: Insufficient nvidia.com/gpu",
            FEWER,
        ),
        (
            f"0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint(s). {SKIPPED}",
            "1 of 3 nodes: Insufficient nvidia.com/gpu; 2 of 3 nodes: had untolerated taint(s)",
            f"{ADD_TOLERATION} {FEWER}",
        ),
        (
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {gpu: true}.",
            "1 of 3 nodes: Insufficient cpu; 2 of 3 nodes: untolerated taint gpu=true",
            "Ask for less cpu in a pod than a node has free, wait until others end, or add larger nodes. "
            + ADD_TOLERATION,
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
            "1 of 1 nodes: untolerated taint node.kubernetes.io/not-ready",
            "Wait until the nodes that are not ready come back: `kubectl get nodes`.",
        ),
        (
            f"0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. {SKIPPED}",
            "3 of 3 nodes: didn't match Pod's node affinity/selector",
            SELECTOR,
        ),
        (
            '0/3 nodes are available: persistentvolumeclaim "data" not found. not found',
            'persistentvolumeclaim "data" not found',
            "Create the PersistentVolumeClaim data in the namespace, or correct its name.",
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
            "pod has unbound immediate PersistentVolumeClaims",
            (
                "See with `kubectl -n team describe pvc` why the pod's claim gets no volume, and whether its "
                "StorageClass exists."
            ),
        ),
        ("no nodes available to schedule pods", "no nodes available to schedule pods", None),
    ],
)
def test_a_message_is_told_by_nodes_and_what_to_do(message: str, told: str, what_to_do: str | None) -> None:
    parsed = parse_scheduler_message(message)
    assert str(parsed) == told
    assert parsed.advice("kubectl -n team") == (
        what_to_do or "See `kubectl -n team describe pod` and `kubectl get nodes`."
    )
