"""What the scheduler says when it finds no node for a pod."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MESSAGE = re.compile(
    r"(?P<fitting>\d+)/(?P<nodes>\d+) nodes are available: (?P<obstacles>.*?)(?:\.\s|\.?$)", re.DOTALL
)
_COUNTED = re.compile(r"(?P<count>\d+) (?P<what>.*)", re.DOTALL)
_TAINT = re.compile(r"untolerated taint \{(?P<key>[^:}]*)(?:: (?P<value>[^}]*))?\}")
_MOST_ADVICE = 2

# In the order in which they are worth a reader's attention. What keeps a pod from every node comes first. A node that
# lacks only CPUs or memory would fit. A GPU that the scheduler misses may be missing on the nodes that have none, while
# those that have some are tainted; and of a node selector it speaks for all nodes that are not meant at all.
_ADVICE: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r'persistentvolumeclaim "(?P<name>[^"]*)" not found'),
        "Create the PersistentVolumeClaim {name} in the namespace, or correct its name.",
    ),
    (
        re.compile(r"unbound immediate PersistentVolumeClaims"),
        "See with `{kubectl} describe pvc` why the pod's claim gets no volume, and whether its StorageClass exists.",
    ),
    (
        re.compile(r"volume node affinity conflict|didn't find available persistent volumes"),
        "Its volume is on another node or in another zone than the nodes that fit: use a claim that both can reach.",
    ),
    (
        re.compile(r"Insufficient (?P<resource>[^\s/]+)$"),
        "Ask for less {resource} in a pod than a node has free, wait until others end, or add larger nodes.",
    ),
    (
        re.compile(r"untolerated taint node\.kubernetes\.io/(not-ready|unreachable)"),
        "Wait until the nodes that are not ready come back: `kubectl get nodes`.",
    ),
    (
        re.compile(r"untolerated taint"),
        "If tainted nodes are meant, add a toleration to the placement (`kubectl describe nodes` shows the taints).",
    ),
    (
        re.compile(r"Insufficient (?P<resource>\S+/\S+)"),
        "Ask for fewer {resource} in a pod than a node has, wait until others end, or add nodes that have them.",
    ),
    (
        re.compile(r"affinity/selector"),
        "Correct the node selector of the placement, or label nodes so (`kubectl get nodes --show-labels`).",
    ),
    (re.compile(r"Too many pods"), "Wait until other pods end, or add nodes: each takes a limited number of pods."),
    (re.compile(r"were unschedulable"), "Wait until the maintenance of the nodes is over, or uncordon them."),
    (re.compile(r"anti-affinity|topology spread"), "Loosen the rules that keep the pods apart, or add nodes."),
)


@dataclass(frozen=True)
class Obstacle:
    """Why some nodes do not fit.

    Attributes:
        what: What is the matter, as the scheduler says it: `Insufficient nvidia.com/gpu`.
        nodes: How many nodes it is about; None if it is not about single nodes.
    """

    what: str
    nodes: int | None = None


@dataclass(frozen=True)
class Unschedulable:
    """What a message of the scheduler says.

    Attributes:
        nodes: How many nodes there are; None if the message does not say.
        obstacles: Why none of them fits.
        message: The message itself.
    """

    nodes: int | None
    obstacles: tuple[Obstacle, ...]
    message: str

    def __str__(self) -> str:
        if self.nodes is None:
            return self.message
        if self.nodes == 0:
            return "the cluster has no nodes"
        parts = [
            each.what if each.nodes is None else f"{each.nodes} of {self.nodes} nodes: {each.what}"
            for each in self.obstacles
        ]
        return "; ".join(parts)

    def advice(self, kubectl: str) -> str:
        """The next action of the reader.

        Args:
            kubectl: The beginning of a command about the pod's namespace, `kubectl -n team`.
        """
        said: list[str] = []
        left = list(self.obstacles)
        for pattern, advice in _ADVICE:
            found = [match for each in left if (match := pattern.search(each.what))]
            if found:
                said.append(advice.format(kubectl=kubectl, **found[0].groupdict()))
                left = [each for each in left if not pattern.search(each.what)]
        return " ".join(said[:_MOST_ADVICE]) or f"See `{kubectl} describe pod` and `kubectl get nodes`."


def parse_scheduler_message(message: str) -> Unschedulable:
    """Take the message of a pod's condition PodScheduled apart.

    Args:
        message: `0/3 nodes are available: 2 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint(s). …`; what
            follows it about preemption is left out.
    """
    found = _MESSAGE.match(message)
    if not found:
        return Unschedulable(None, (Obstacle(message),), message)
    return Unschedulable(int(found["nodes"]), tuple(map(_obstacle, found["obstacles"].split(", "))), message)


def _obstacle(text: str) -> Obstacle:
    counted = _COUNTED.fullmatch(text)
    if not counted:
        return Obstacle(text)
    what = counted["what"].removeprefix("node(s) ")
    taint = _TAINT.search(what)
    if taint:
        value = f"={taint['value']}" if taint["value"] else ""
        what = f"untolerated taint {taint['key']}{value}"
    return Obstacle(what, int(counted["count"]))
