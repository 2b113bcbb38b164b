"""What is left to say where neither an end nor an obstacle explains an object."""

from __future__ import annotations

from stepworks.kube.diagnosis.facts import Facts
from stepworks.kube.diagnosis.finding import Finding


def judge_condition(facts: Facts) -> Finding | None:
    """An object that says that it failed, and no pod says why."""
    if not facts.failed:
        return None
    return Finding(
        "unknown",
        f"{facts.ended or 'it says no more'}; none of its pods says why",
        f"See what its controller says: {facts.reference.kubectl('describe')}",
    )


def judge_unready(facts: Facts) -> Finding | None:
    """A pod that runs, and whose probes are not answered as they should be."""
    for pod in facts.pods:
        told = [each.message for each in facts.events_with("Unhealthy") if each.about == f"Pod {pod.name}"]
        if pod.unready and told:
            return Finding(
                "not-ready",
                f"the pod {pod.name} runs and is not ready: {told[-1].strip().rstrip('.')}",
                "Correct the path or the port of the probe if the server answers at another; allow more time if the "
                "last lines of its log show that it still loads.",
                pod=pod,
            )
    return None


def judge_running(facts: Facts) -> Finding | None:
    """Pods that run, and no more."""
    running = [pod for pod in facts.pods if pod.phase == "Running"]
    if not running or len(running) < len(facts.pods):
        return None
    return Finding(
        "still-running",
        f"its {'pod runs' if len(running) == 1 else f'{len(running)} pods run'} still",
        "Allow more time, if the last lines of its log show that it gets on; otherwise find out what it waits for.",
        pod=running[0],
    )


def judge_nothing(facts: Facts) -> Finding:
    """Nothing that is known."""
    return Finding(
        "unknown",
        "there are no pods of it" if facts.chain and not facts.pods else facts.ended or "nothing says why",
        f"See what its controller says: {facts.reference.kubectl('describe')}",
    )
