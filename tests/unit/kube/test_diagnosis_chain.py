"""Which of the objects that a Deployment has made its diagnosis is about."""

from stepworks.kube.diagnosis.chain import without_replaced
from stepworks.kube.kinds.manifests import Manifest


def replica_set(name: str, revision: int, deployment: str) -> Manifest:
    annotations = {"deployment.kubernetes.io/revision": str(revision)}
    metadata = {"name": name, "uid": name, "ownerReferences": [{"uid": deployment}], "annotations": annotations}
    return {"kind": "ReplicaSet", "metadata": metadata}


def pod(name: str, owner: str) -> Manifest:
    return {"kind": "Pod", "metadata": {"name": name, "uid": name, "ownerReferences": [{"uid": owner}]}}


def test_a_diagnosis_leaves_out_the_pods_that_are_being_replaced() -> None:
    made = [
        replica_set("a-9", 9, "a"),
        replica_set("a-10", 10, "a"),
        replica_set("b-1", 1, "b"),
        pod("old", "a-9"),
        pod("new", "a-10"),
        pod("other", "b-1"),
        {"kind": "Pod", "metadata": {"name": "of-nobody", "uid": "of-nobody"}},
    ]
    left = [each["metadata"]["name"] for each in without_replaced(made)]
    assert left == ["a-10", "b-1", "new", "other", "of-nobody"]
