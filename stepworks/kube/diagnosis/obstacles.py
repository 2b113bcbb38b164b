"""The causes why an object does not begin: images, configuration, quotas, admission, volumes, the scheduler."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stepworks.kube.diagnosis.facts import ContainerFacts, EventFacts, Facts, PodFacts
from stepworks.kube.diagnosis.finding import Finding
from stepworks.kube.diagnosis.scheduling import parse_scheduler_message

_PULLING = ("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "ErrImageNeverPull")
_NETWORK = re.compile(
    r"(?i)timeout|timed out|connection refused|no such host|temporary failure|tls handshake|toomanyrequests|"
    r"429|reset by peer|unexpected eof|5\d\d (internal|bad|service|gateway)"
)
_DENIED = re.compile(r"(?i)unauthorized|denied|forbidden|authentication required|401|403")
_NOT_CREATED = ("CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError")
_CREATION_FAILED = ("FailedCreate", "FailedCreatePod", "TrainJobResourcesCreationFailed")
_MISSING_OBJECT = re.compile(r'(?i)(?P<kind>secret|configmap) "(?P<name>[^"]+)" not found')
_MISSING_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?P<name>\S+)")
_QUOTA = re.compile(r"exceeded quota: (?P<name>[^,]+), requested: (?P<more>.*)")
_LIMIT = re.compile(r"(?i)(maximum|minimum) \S+ usage per|limit to request ratio")
_WEBHOOK = re.compile(r'admission webhook "(?P<name>[^"]+)" denied the request:? ?(?P<why>.*)', re.DOTALL)
_ACCOUNT = re.compile(r'serviceaccount "(?P<name>[^"]+)" not found')
_KNOWN_REFUSAL = re.compile(
    r"is invalid: |violates PodSecurity|denied request|no PriorityClass with name|because it is being terminated"
)
_CALLING = re.compile(r'failed calling webhook "(?P<name>[^"]+)"')
_PREFIX = re.compile(r'^(Error creating: )?(pods "[^"]*" is forbidden: )?')
_WHAT_STOPS_A_REFUSAL = "Change what the message names, in the placement or in the pod; another attempt is refused too."


def judge_image(facts: Facts) -> Finding | None:
    """An image that cannot be pulled."""
    for pod, container in _waiting(facts):
        what = f"the container {container.name} of the pod {pod.name}"
        if container.reason == "InvalidImageName":
            return Finding(
                "image-name",
                f"{what} has an image whose name is not valid: {container.message}",
                "Correct the image's name.",
                permanent=True,
                tolerance="none",
                pod=pod,
                container=container,
            )
        if container.reason not in _PULLING:
            continue
        failed = [each.message for each in facts.events_with("Failed") if each.about == f"Pod {pod.name}"]
        # A kubelet writes why, and then, as events of the same reason, that there was an error and that it waits.
        pulls = [message for message in failed if message.startswith("Failed to pull image")]
        told = pulls[-1] if pulls else container.message
        if _NETWORK.search(told):
            return Finding(
                "registry-unreachable",
                f"the image of {what} cannot be pulled: {told}",
                "See whether the nodes reach the registry; then start the step again.",
                tolerance="room",
                pod=pod,
                container=container,
            )
        advice = (
            "Give the pod's ServiceAccount an image pull secret for the registry."
            if _DENIED.search(told)
            else "Push the image, or correct its name and tag. A private registry needs an image pull secret."
        )
        return Finding(
            "image-missing",
            f"the image of {what} cannot be pulled: {told}",
            advice,
            permanent=True,
            tolerance="soon",
            pod=pod,
            container=container,
        )
    return None


def judge_configuration(facts: Facts) -> Finding | None:
    """A Secret, a ConfigMap or a key of one that a container needs and that is not there."""
    for pod, container in _waiting(facts):
        if container.reason != "CreateContainerConfigError":
            continue
        missing = _missing(container.message)
        return Finding(
            "configuration-missing",
            f"the container {container.name} of the pod {pod.name} cannot be made: {missing or container.message}",
            "Create what is missing in the namespace, or correct its name in the step."
            if missing
            else "Correct what the message names.",
            permanent=True,
            tolerance="soon",
            pod=pod,
            container=container,
        )
    return None


def judge_creation(facts: Facts) -> Finding | None:
    """A container that its node cannot make or start."""
    for pod, container in _waiting(facts):
        if container.reason in _NOT_CREATED:
            return Finding(
                "container-refused",
                f"the container {container.name} of the pod {pod.name} cannot be started: {container.message}",
                "Correct the command, the mount or the hook that the message names.",
                permanent=True,
                tolerance="soon",
                pod=pod,
                container=container,
            )
    return None


def judge_refusal(facts: Facts) -> Finding | None:
    """Pods that the API server does not let in: quotas, limit ranges, policies, webhooks, ServiceAccounts."""
    if not any(each.lacks_pods for each in facts.chain) or (facts.failed and facts.pods):
        return None
    refused = [each for each in facts.events_with(*_CREATION_FAILED) if not _was_answered(facts, each)]
    return _judge_refusal(facts, refused[-1]) if refused else None


def _was_answered(facts: Facts, refusal: EventFacts) -> bool:
    """Whether a pod was made after all since a refusal: the event stays for an hour."""
    made = facts.events_with("SuccessfulCreate", "SuccessfulCreatePod")
    return any(each.about == refusal.about and each.last >= refusal.last for each in made)


def _judge_refusal(facts: Facts, event: EventFacts) -> Finding:
    message = _PREFIX.sub("", event.message)
    maker = "it" if event.about == str(facts.reference) else f"the {event.about}"
    lead = f"{maker} may not make its pods"
    if quota := _QUOTA.search(message):
        return Finding(
            "quota-exceeded",
            f"{lead}: the quota {quota['name']} is exceeded (requested: {quota['more']})",
            "Ask for less, wait until others end, or have the quota raised: "
            f"{facts.kubectl('describe', 'resourcequota', quota['name'])}",
            tolerance="room",
        )
    if _CALLING.search(message):
        return Finding(
            "webhook-unreachable",
            f"{lead}: an admission webhook does not answer ({message})",
            "See whether the pods of that webhook run; then start the step again.",
            tolerance="room",
        )
    if webhook := _WEBHOOK.search(message):
        problem, what_to_do = f"the webhook {webhook['name']} refuses them: {webhook['why']}", _WHAT_STOPS_A_REFUSAL
    elif account := _ACCOUNT.search(message):
        problem = f"there is no ServiceAccount {account['name']}"
        what_to_do = f"Create the ServiceAccount {account['name']} in the namespace, or correct its name."
    elif _LIMIT.search(message):
        problem = f"a LimitRange of the namespace refuses them: {message}"
        what_to_do = (
            f"Ask for what the LimitRange allows, or have it changed: {facts.kubectl('describe', 'limitrange')}"
        )
    elif _KNOWN_REFUSAL.search(message):
        problem, what_to_do = message, _WHAT_STOPS_A_REFUSAL
    else:
        return Finding(
            "creation-failed",
            f"{maker} fails to make its pods: {message}",
            "Its controller tries again by itself; correct what the message names if it stays.",
            tolerance="room",
        )
    return Finding("refused", f"{lead}: {problem}", what_to_do, permanent=True, tolerance="none")


def judge_queue(facts: Facts) -> Finding | None:
    """A queue of Kueue that holds the object back."""
    queue = next((each.queue for each in facts.chain if each.queue), "")
    if not queue:
        return None
    return Finding(
        "queued",
        f"the queue {queue} holds it back",
        f"Wait until others end, or see what the queue says of it: {facts.kubectl('describe', 'workload')}",
        tolerance="room",
    )


def judge_deletion(facts: Facts) -> Finding | None:
    """An object that is being deleted and does not go."""
    finalizers = facts.chain[0].finalizers if facts.chain else ()
    if not finalizers:
        return None
    left = [pod for pod in facts.pods if pod.node and pod.phase not in ("Succeeded", "Failed")]
    if left:
        return Finding(
            "deletion-blocked",
            f"it is not deleted while its pod {left[0].name} is on the node {left[0].node}",
            f"See whether the node answers: kubectl describe node {left[0].node}. If it is gone for good: "
            f"{facts.kubectl('delete', 'pod', left[0].name, '--force')}",
            pod=left[0],
        )
    return Finding(
        "deletion-blocked",
        f"it is not deleted before its finalizers are gone: {', '.join(finalizers)}",
        "See whether the controller runs that is to remove them.",
    )


def judge_volume(facts: Facts) -> Finding | None:
    """A volume that cannot be mounted or attached."""
    mounted = facts.events_with("FailedMount", "FailedAttachVolume")
    stuck = {f"Pod {pod.name}": pod for pod in facts.stuck if pod.node}
    of_stuck = [each for each in mounted if each.about in stuck]
    if not of_stuck:
        return None
    pod, missing = stuck[of_stuck[-1].about], _missing(of_stuck[-1].message)
    return Finding(
        "volume-unavailable",
        f"a volume of the pod {pod.name} cannot be mounted: {missing or of_stuck[-1].message}",
        "Create what is missing in the namespace, or correct its name in the step."
        if missing
        else f"See {facts.kubectl('describe', 'pvc')}; a volume that is ReadWriteOnce may still be at another node.",
        tolerance="room",
        pod=pod,
    )


def judge_scheduling(facts: Facts) -> Finding | None:
    """Pods for which there is no node."""
    for pod in facts.stuck:
        if pod.waits_because == "SchedulingGated":
            return Finding(
                "gated",
                f"the pod {pod.name} waits for a scheduling gate to be opened",
                f"See which queue or controller holds the gate: {facts.kubectl('describe', 'pod', pod.name)}",
                tolerance="room",
                pod=pod,
            )
        if pod.waits_because:
            said = parse_scheduler_message(pod.scheduler)
            asked = f", which asks for {pod.asks_for}" if pod.asks_for else ""
            asked += ", and one before it was preempted" if facts.events_with("Preempted") else ""
            return Finding(
                "unschedulable",
                f"there is no node for the pod {pod.name}{asked}: {said}",
                said.advice(facts.kubectl()),
                tolerance="room",
                pod=pod,
            )
    return None


def _waiting(facts: Facts) -> Iterator[tuple[PodFacts, ContainerFacts]]:
    for pod in facts.pods:
        for container in pod.containers:
            if container.state == "waiting":
                yield pod, container


def _missing(message: str) -> str:
    """What a kubelet misses: `there is no Secret registry`."""
    if found := _MISSING_KEY.search(message):
        return f"the {found['kind']} {found['name'].rpartition('/')[2]} has no key {found['key']}"
    if found := _MISSING_OBJECT.search(message):
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[found["kind"].lower()]
        return f"there is no {kind} {found['name']}"
    return ""
