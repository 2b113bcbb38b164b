"""Whether the claims that a pipeline mounts are there, have a volume or get one, and fit its pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stepworks.kube.api.commands import kubectl
from stepworks.kube.kinds.manifests import Manifest, status_of
from stepworks.kube.preflight.needs import STAYING, PodNeed
from stepworks.kube.preflight.nodes import most_on_one_node
from stepworks.kube.preflight.report import Check, fine, missing, unknown, waits
from stepworks.kube.preflight.view import Unseen, View
from stepworks.placement.storage import SINGLE_NODE_MODES

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_OLD_DEFAULT_CLASS = "storageclass.beta.kubernetes.io/is-default-class"


def check_claims(view: View, pods: Sequence[PodNeed]) -> list[Check]:
    """See whether each claim can be mounted by the pods that want it."""
    names = sorted({claim for pod in pods for claim in pod.claims})
    return [_check(view, name, [pod for pod in pods if name in pod.claims]) for name in names]


def _check(view: View, name: str, pods: Sequence[PodNeed]) -> Check:
    subject, namespace = f"PersistentVolumeClaim {name}", view.cluster.namespace
    claim = view.find("v1", "PersistentVolumeClaim", name)
    if isinstance(claim, Unseen):
        return unknown("claim", subject, claim.reason, "Let whoever checks get persistentvolumeclaims.")
    if claim is None:
        who = ", ".join(dict.fromkeys(pod.who for pod in pods))
        what_to_do = f"Create it, as cluster/base does, or correct its name in the target. It is mounted by {who}."
        return missing("claim", subject, f"it is not in the namespace {namespace}", what_to_do)
    return _check_present(view, subject, claim, pods)


def _check_present(view: View, subject: str, claim: Manifest, pods: Sequence[PodNeed]) -> Check:
    describe = kubectl("describe", "pvc", claim["metadata"]["name"], namespace=view.cluster.namespace)
    if claim["metadata"].get("deletionTimestamp"):
        return missing("claim", subject, "it is being deleted", "Wait until it is gone, and create it anew.")
    modes = claim["spec"].get("accessModes") or []
    at_once = list(_at_once(pods))
    if at_once and set(modes) <= set(SINGLE_NODE_MODES):
        told = f"its access modes are {', '.join(modes)}, and {' and '.join(at_once)} mount it at once"
        if "ReadWriteOnce" not in modes or not _share_a_node(view, pods):
            return missing("claim", subject, told, "Use a claim that is ReadWriteMany.")
        told = f"{told}, which works on one node only"
        return unknown(
            "claim", subject, told, "Use a claim that is ReadWriteMany, or see that one node takes all of it."
        )
    phase = status_of(claim).get("phase") or "Pending"
    if phase == "Bound":
        return fine("claim", subject, f"bound, {', '.join(modes)}")
    if phase != "Pending":
        return missing("claim", subject, f"it is {phase}: its volume is gone", f"See {describe}")
    return _check_pending(view, subject, claim, describe)


def _share_a_node(view: View, pods: Sequence[PodNeed]) -> bool:
    """Whether one node may have all the pods at once that need each other; true also where that is not seen."""
    needing = [pod for pod in pods if pod.together > 1]
    return all((most := most_on_one_node(view, pod)) is None or most >= pod.together for pod in needing)


def _at_once(pods: Sequence[PodNeed]) -> Iterator[str]:
    """Which pods mount a claim at once: several of one job, or those of a job and the step that waits for them."""
    waiting = {step for pod in pods if not pod.maker for step in pod.steps}
    for pod in pods:
        if pod.at_once > 1:
            yield f"{pod.at_once} pods of {pod.who}"
        elif pod.maker and pod.maker not in STAYING and waiting.intersection(pod.steps):
            yield f"the pods of {pod.who} and the step"


def _check_pending(view: View, subject: str, claim: Manifest, describe: str) -> Check:
    """A claim without a volume: with a class that waits for a pod all is well, without any class nothing comes."""
    wanted = claim["spec"].get("storageClassName")
    classes = view.storage_classes
    if isinstance(classes, Unseen):
        return unknown("claim", subject, f"it has no volume yet; {classes.reason}", f"See {describe}")
    known = {each["metadata"]["name"]: each for each in classes}
    if wanted is None:
        wanted = next((name for name, each in known.items() if _is_default(each)), "")
    found = known.get(wanted)
    if found is None:
        told = f"there is no StorageClass {wanted}" if wanted else "it names no StorageClass, and none is the default"
        what_to_do = f"Create the StorageClass, or a volume for the claim; see {describe}"
        return missing("claim", subject, f"it has no volume, and {told}", what_to_do)
    if found.get("volumeBindingMode") == "WaitForFirstConsumer":
        return fine("claim", subject, f"it gets its volume from {wanted} with its first pod")
    return waits("claim", subject, f"it waits for a volume from {wanted}", f"See why it takes so long: {describe}")


def check_storage_class(view: View, name: str, who: str) -> Check:
    """See whether the StorageClass is there from which a claim of the run gets its volume; empty for the default."""
    classes = view.storage_classes
    subject = f"StorageClass {name}" if name else "default StorageClass"
    if isinstance(classes, Unseen):
        return unknown("claim", subject, classes.reason, "Let whoever checks list storageclasses.")
    if any(each["metadata"]["name"] == name or (not name and _is_default(each)) for each in classes):
        return fine("claim", subject, f"it is there, for {who}")
    there = ", ".join(each["metadata"]["name"] for each in classes) or "none"
    return missing("claim", subject, f"it is not there; there is {there}", "Correct it in the target, or create it.")


def _is_default(storage_class: Manifest) -> bool:
    annotations = storage_class["metadata"].get("annotations") or {}
    return "true" in (annotations.get(_DEFAULT_CLASS), annotations.get(_OLD_DEFAULT_CLASS))
