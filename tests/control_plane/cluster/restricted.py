"""A step under a token of its ServiceAccount, with the Role that is shipped for it and no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from stepworks.errors import StepworksError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, patch
from stepworks.kube.api.references import Reference, reference_to
from stepworks.operations.permissions import PERMISSIONS, When
from stepworks.operations.roles import rules_of
from testbed.audit import Call
from testbed.bed import Bed
from tests.control_plane.kube.workloads import allow, connect_as, pod_template
from tests.waiting import wait_for

ACCOUNT = "pipeline-runner"
SECONDS = 90.0


class Step:
    """A namespace with the ServiceAccount of one component.

    Attributes:
        admin: The cluster, as its administrator sees it.
        cluster: The cluster, as the step does.
    """

    def __init__(self, bed: Bed, admin: Cluster, folder: Path, component: str, without: Call | None = None) -> None:
        self.bed, self.admin, self.folder = bed, admin, folder
        self.cluster = connect_as(admin, ACCOUNT, folder)
        self._component = component
        # The Gateways of these tests are in the namespace of the run.
        rules = [*rules_of(component), *rules_of(component, namespace="gateway")]
        allow(admin, ACCOUNT, [rule for each in rules for rule in _split(each, without)])
        granted = sorted(self.granted() - ({without} if without else set()), key=str)
        wait_for("the Role is known", lambda: self._may(granted[-1]))

    def _may(self, call: Call) -> bool:
        kind, _, part = call.resource.partition("/")
        asked = f"{kind}.{call.group}".rstrip(".")
        command = ["auth", "can-i", call.verb, asked, "-n", self.admin.namespace, f"--subresource={part}"]
        with suppress(StepworksError):
            self.bed.kubectl(*command, f"--as=system:serviceaccount:{self.admin.namespace}:{ACCOUNT}")
            return True
        return False

    def granted(self, besides: Collection[When] = ()) -> set[Call]:
        """What the Role grants, but for what only these cases need."""
        return {
            Call(verb, each.group, resource)
            for each in PERMISSIONS[self._component]
            if each.when not in besides
            for resource in each.resources
            for verb in each.verbs
        }

    def asked(self) -> set[Call]:
        """What was asked for, beside what everybody may: the API's description, and what one may do oneself."""
        found = self.bed.audited(self.admin.namespace, ACCOUNT)
        return {each for each in found if each.group != "authorization.k8s.io"}


def _split(rule: dict[str, Any], without: Call | None) -> list[dict[str, Any]]:
    """A rule without one verb on one resource."""
    (group,) = rule["apiGroups"]
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": verbs}
        for resource in rule["resources"]
        if (verbs := [verb for verb in rule["verbs"] if Call(verb, group, resource) != without])
    ]


def in_background(action: Callable[[], Any], meanwhile: Callable[[], Any]) -> None:
    """Do something while a step runs."""
    with ThreadPoolExecutor(1) as executor:
        step = executor.submit(action)
        try:
            meanwhile()
        finally:
            with suppress(StepworksError):
                step.result(SECONDS)


def while_deleted(step: Step, reference: Reference, action: Callable[[], Any]) -> None:
    """Do something of which an object keeps the name that is being deleted, for a second more."""
    namespace, kind = step.admin.namespace, f"{reference.kind}.{reference.api_version.partition('/')[0]}".lower()
    if "/" not in reference.api_version:
        kind = reference.kind.lower()
    patch(step.admin, reference, {"metadata": {"finalizers": ["example.com/held"]}})
    step.bed.kubectl("-n", namespace, "delete", kind, reference.name, "--wait=false")

    def let_go() -> None:
        time.sleep(1)
        patch(step.admin, reference, {"metadata": {"finalizers": None}})

    in_background(action, let_go)


def while_a_pod_ends(step: Step, action: Callable[[], Any], labels: dict[str, str]) -> None:
    """Do something that waits for a pod from before to end, which it does when it is seen to be watched.

    No node has the pod: simulated ones let go of theirs at once.
    """
    pod = pod_template("Always", labels, {})
    pod["metadata"] |= {"name": "from-before", "finalizers": ["example.com/held"]}
    pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "none"}
    reference = reference_to(create(step.admin, {"apiVersion": "v1", "kind": "Pod", **pod}))
    step.bed.kubectl("-n", step.admin.namespace, "delete", "pod", reference.name, "--wait=false")

    def let_go() -> None:
        try:
            wait_for("it is watched", lambda: Call("watch", "", "pods") in step.asked(), SECONDS)
        finally:
            patch(step.admin, reference, {"metadata": {"finalizers": None}})

    in_background(action, let_go)
