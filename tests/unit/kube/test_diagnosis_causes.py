"""Every cause, judged on facts as real schedulers, controllers and kubelets give them."""

from dataclasses import replace

import pytest

from stepworks.kube.api.references import Reference
from stepworks.kube.diagnosis.causes import judge, judge_obstacles
from stepworks.kube.diagnosis.facts import ContainerFacts, EventFacts, Facts, ObjectFacts, PodFacts
from tests.unit.kube.facts_of_pods import JOB, C, disrupted, ended, failed, pod, refused, short, stuck, waiting

ENDS = [
    (pod(ended(3)), ("program-failed", True, f"{C} ended with exit code 3")),
    (
        pod(ended(137, ended_reason="OOMKilled")),
        ("out-of-memory", True, f"{C} used more memory than its limit and was killed"),
    ),
    (pod(ended(137)), ("killed", False, f"{C} was killed (exit code 137), and not for its own memory limit")),
    (pod(ended(143)), ("terminated", False, f"{C} was told to end (SIGTERM, exit code 143)")),
    (pod(ended(139)), ("program-failed", True, f"{C} crashed with SIGSEGV (exit code 139)")),
    (pod(ended(75)), ("interrupted", False, f"{C} was interrupted and asks to be started again")),
    (
        pod(ended(128, ended_reason="StartError", ended_message='exec: "trian": executable file not found in $PATH')),
        (
            "command-missing",
            True,
            (
                f"the command of {C} could not be started (exit code 128): exec: "
                '"trian": executable file not found in $PATH'
            ),
        ),
    ),
    (pod(ended(127)), ("command-missing", True, f"the command of {C} could not be started (exit code 127)")),
    (
        pod(ended(1, init=True, name="storage-initializer")),
        ("init-failed", True, "the init container storage-initializer of the pod train-a ended with exit code 1"),
    ),
    (
        pod(
            ended(143),
            reason="DeadlineExceeded",
            message="Pod was active on the node longer than the specified deadline",
        ),
        (
            "deadline-exceeded",
            False,
            (
                "the pod train-a: it ran longer than its activeDeadlineSeconds (Pod was active on the node longer than "
                "the specified deadline)"
            ),
        ),
    ),
    (
        disrupted("PreemptionByScheduler", "default-scheduler: preempting"),
        (
            "preempted",
            False,
            ("the pod train-a: a pod of higher priority took its place (default-scheduler: preempting)"),
        ),
    ),
    (
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        (
            "evicted",
            False,
            "the pod train-a: its node ran out of a resource, or was shut down (The node was low on resource: memory)",
        ),
    ),
    (
        disrupted("EvictionByEvictionAPI"),
        ("drained", False, "the pod train-a: it was evicted, as when a node is drained"),
    ),
    (
        disrupted("DeletionByTaintManager"),
        ("node-lost", False, "the pod train-a: its node was tainted, as when it stops answering"),
    ),
    (disrupted("DeletionByPodGC"), ("node-lost", False, "the pod train-a: its node is gone")),
    (
        pod(phase="Failed", reason="UnexpectedAdmissionError", message="Allocate failed: no healthy devices."),
        (
            "pod-refused",
            False,
            "the pod train-a was ended by its node: UnexpectedAdmissionError: Allocate failed: no healthy devices",
        ),
    ),
]


@pytest.mark.parametrize(("found", "expected"), ENDS, ids=[each[1][0] for each in ENDS])
def test_the_end_of_a_pod_is_judged(found: PodFacts, expected: tuple[str, bool, str]) -> None:
    assert short(judge(failed(found))) == expected


NO_NODE = (
    "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/2 nodes are "
    "available: 2 Preemption is not helpful for scheduling."
)
PULL = 'Failed to pull image "x": rpc error: code = NotFound desc = failed to pull: registry.example.com/x: not found'
NO_WAY = 'Failed to pull image "x": rpc error: code = Unknown desc = dial tcp 192.0.2.1:443: i/o timeout'


def pulling(told: str) -> Facts:
    """A pod with the three events that a kubelet writes for each attempt to pull an image, in their order."""
    messages = (told, "Error: ErrImagePull", "Error: ImagePullBackOff")
    events = tuple(EventFacts("Pod train-a", "Failed", message) for message in messages)
    return stuck(waiting("ImagePullBackOff", 'Back-off pulling image "x"'), events=events)


def looping(restarts: int = 3, *, serves: bool = True, code: int = 1) -> Facts:
    """A container that was started again and again, of a server or of a Job."""
    container = ContainerFacts(
        "main", state="waiting", reason="CrashLoopBackOff", exit_code=code, ended_at="10:00:05", restarts=restarts
    )
    server = Reference("serving.kserve.io/v1beta1", "InferenceService", "flights-v1", "team")
    facts = stuck(pod(container, phase="Running", node="gpu-1"))
    return replace(facts, reference=server) if serves else facts


NOT_FOUND = 'exec: "trian": executable file not found in $PATH'
UNSTARTED = ended(128, ended_reason="StartError", ended_message=NOT_FOUND)
OBSTACLES = [
    (
        stuck(pod(UNSTARTED), pod(UNSTARTED, name="train-b")),
        ("command-missing", True, f"the command of {C} could not be started (exit code 128): {NOT_FOUND}"),
        "none",
    ),
    (
        looping(),
        ("crash-loop", False, f"{C} ended with exit code 1, each of the 4 times that it was started"),
        "none",
    ),
    (
        stuck(waiting("ImagePullBackOff", 'Back-off pulling image "x"')),
        ("image-missing", True, f'the image of {C} cannot be pulled: Back-off pulling image "x"'),
        "soon",
    ),
    (
        pulling(NO_WAY),
        ("registry-unreachable", False, f"the image of {C} cannot be pulled: {NO_WAY}"),
        "room",
    ),
    (pulling(PULL), ("image-missing", True, f"the image of {C} cannot be pulled: {PULL}"), "soon"),
    (
        stuck(waiting("ImagePullBackOff", "Back-off"), events=(EventFacts("Pod train-a", "Failed", PULL),)),
        ("image-missing", True, f"the image of {C} cannot be pulled: {PULL}"),
        "soon",
    ),
    (
        stuck(waiting("ErrImagePull", "dial tcp: lookup registry.example.com: no such host")),
        (
            "registry-unreachable",
            False,
            f"the image of {C} cannot be pulled: dial tcp: lookup registry.example.com: no such host",
        ),
        "room",
    ),
    (
        stuck(waiting("InvalidImageName", "couldn't parse image name")),
        ("image-name", True, f"{C} has an image whose name is not valid: couldn't parse image name"),
        "none",
    ),
    (
        stuck(waiting("CreateContainerConfigError", 'secret "registry" not found')),
        ("configuration-missing", True, f"{C} cannot be made: there is no Secret registry"),
        "soon",
    ),
    (
        stuck(waiting("CreateContainerConfigError", "couldn't find key token in Secret team/registry")),
        ("configuration-missing", True, f"{C} cannot be made: the Secret registry has no key token"),
        "soon",
    ),
    (
        stuck(waiting("CreateContainerError", "no command specified")),
        ("container-refused", True, f"{C} cannot be started: no command specified"),
        "soon",
    ),
    (
        refused(
            'pods "train-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=3, used: '
            "requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=2"
        ),
        (
            "quota-exceeded",
            False,
            (
                "it may not make its pods: the quota gpus is exceeded (requested: requests.nvidia.com/gpu=3, used: "
                "requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=2)"
            ),
        ),
        "room",
    ),
    (
        refused('pods "train-x" is forbidden: maximum memory usage per Container is 8Gi, but limit is 64Gi'),
        (
            "refused",
            True,
            (
                "it may not make its pods: a LimitRange of the namespace refuses them: maximum memory usage per "
                "Container is 8Gi, but limit is 64Gi"
            ),
        ),
        "none",
    ),
    (
        refused('pods "train-" is forbidden: error looking up service account team/x: serviceaccount "x" not found'),
        ("refused", True, "it may not make its pods: there is no ServiceAccount x"),
        "none",
    ),
    (
        refused('admission webhook "policy.example.com" denied the request: images must be signed'),
        (
            "refused",
            True,
            "it may not make its pods: the webhook policy.example.com refuses them: images must be signed",
        ),
        "none",
    ),
    (
        refused('pods "train-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'),
        (
            "refused",
            True,
            'it may not make its pods: violates PodSecurity "restricted:latest": runAsNonRoot != true',
        ),
        "none",
    ),
    (
        refused("etcdserver: request timed out"),
        ("creation-failed", False, "it fails to make its pods: etcdserver: request timed out"),
        "room",
    ),
    (
        refused('Operation cannot be fulfilled on resourcequotas "team": the object has been modified'),
        (
            "creation-failed",
            False,
            (
                'it fails to make its pods: Operation cannot be fulfilled on resourcequotas "team": the object has '
                "been modified"
            ),
        ),
        "room",
    ),
    (
        refused('Pod "train-x" is invalid: spec.containers[0].image: Required value'),
        (
            "refused",
            True,
            'it may not make its pods: Pod "train-x" is invalid: spec.containers[0].image: Required value',
        ),
        "none",
    ),
    (stuck(chain=(replace(JOB, queue="gpus"),)), ("queued", False, "the queue gpus holds it back"), "room"),
    (
        refused('Internal error occurred: failed calling webhook "policy.example.com": connection refused'),
        (
            "webhook-unreachable",
            False,
            (
                "it may not make its pods: an admission webhook does not answer (Internal error occurred: "
                'failed calling webhook "policy.example.com": connection refused)'
            ),
        ),
        "room",
    ),
    (
        stuck(
            pod(node="gpu-1"),
            events=(EventFacts("Pod train-a", "FailedMount", 'configmap "settings" not found'),),
        ),
        ("volume-unavailable", False, "a volume of the pod train-a cannot be mounted: there is no ConfigMap settings"),
        "room",
    ),
    (
        stuck(pod(waits_because="Unschedulable", scheduler=NO_NODE, asks_for="nvidia.com/gpu: 8")),
        (
            "unschedulable",
            False,
            (
                "there is no node for the pod train-a, which asks for nvidia.com/gpu: 8: 2 of 2 nodes: Insufficient "
                "nvidia.com/gpu"
            ),
        ),
        "room",
    ),
    (
        stuck(pod(waits_because="SchedulingGated", scheduler="Scheduling is blocked due to non-empty gates")),
        ("gated", False, "the pod train-a waits for a scheduling gate to be opened"),
        "room",
    ),
]


@pytest.mark.parametrize(
    "facts", [looping(2), looping(serves=False), looping(code=0), stuck(pod(UNSTARTED)), stuck(pod(ended(127)))]
)
def test_what_may_come_up_yet_or_is_to_end_is_no_obstacle(facts: Facts) -> None:
    assert judge_obstacles(facts) is None


@pytest.mark.parametrize(("facts", "expected", "tolerance"), OBSTACLES, ids=[each[1][0] for each in OBSTACLES])
def test_an_obstacle_is_judged(facts: Facts, expected: tuple[str, bool, str], tolerance: str) -> None:
    found = judge_obstacles(facts)
    assert found
    assert (short(found), found.tolerance) == (expected, tolerance)
    assert judge(facts) == found


def with_reasons(*reasons: str) -> tuple[ObjectFacts, ...]:
    return (replace(JOB, reasons=reasons),)


UNHEALTHY = EventFacts("Pod train-b", "Unhealthy", "Startup probe failed: statuscode: 404")
OTHERS = [
    (
        failed(chain=with_reasons("DeadlineExceeded")),
        (
            "deadline-exceeded",
            False,
            "it did not end within its activeDeadlineSeconds, the time to wait for a node included",
        ),
    ),
    (
        failed(chain=with_reasons("PodFailurePolicy"), ended="Failed (PodFailurePolicy): exit code 42"),
        (
            "program-failed",
            True,
            (
                "its program ended in a way that its podFailurePolicy takes for final: Failed (PodFailurePolicy): exit "
                "code 42"
            ),
        ),
    ),
    (
        failed(ended="InvalidSpec: NoSupportingRuntime: No runtime found"),
        (
            "spec-invalid",
            True,
            "KServe cannot serve what it asks for (InvalidSpec: NoSupportingRuntime: No runtime found)",
        ),
    ),
    (failed(ended="Failed (X): y"), ("unknown", False, "Failed (X): y; none of its pods says why")),
    (stuck(pod(phase="Running")), ("still-running", False, "its pod runs still")),
    (
        stuck(pod(phase="Running"), pod(phase="Running", name="train-b", unready=True), events=(UNHEALTHY,)),
        ("not-ready", False, "the pod train-b runs and is not ready: Startup probe failed: statuscode: 404"),
    ),
    (stuck(pod(phase="Running"), events=(UNHEALTHY,)), ("still-running", False, "its pod runs still")),
    (stuck(), ("unknown", False, "there are no pods of it")),
    (
        stuck(pod(ended(1)), pod(phase="Running", name="train-b")),
        ("program-failed", False, f"{C} ended with exit code 1"),
    ),
]


@pytest.mark.parametrize(("facts", "expected"), OTHERS)
def test_what_no_pod_says_is_judged(facts: Facts, expected: tuple[str, bool, str]) -> None:
    assert short(judge(facts)) == expected
