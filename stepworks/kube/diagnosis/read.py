"""Facts from the manifests of objects, pods and events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from stepworks.kube.diagnosis.chain import lacks_pods, rank_of
from stepworks.kube.diagnosis.facts import ContainerFacts, EventFacts, ObjectFacts, PodFacts
from stepworks.kube.kinds.manifests import Manifest, condition_line, conditions_of, status_of
from stepworks.kube.kinds.queues import held_by

_SECRET_NAME = re.compile(r"(?i)secret|token|passw|credential|api_?key|access_?key|private_?key")
_COMBINED = "(combined from similar events): "
_SHORTEST_HIDDEN = 6
"""Shorter values are no secrets, and hiding `true` or `1` would spoil the log."""


def read_object(manifest: Manifest) -> ObjectFacts:
    """What the object of a diagnosis, or one that it made, says of itself."""
    conditions = sorted(conditions_of(manifest).values(), key=lambda each: each.get("status") != "True")
    metadata = manifest["metadata"]
    return ObjectFacts(
        manifest["kind"],
        metadata["name"],
        conditions=tuple(condition_line(each) for each in conditions),
        reasons=tuple(each["reason"] for each in conditions if each.get("status") == "True" and each.get("reason")),
        lacks_pods=lacks_pods(manifest),
        queue=held_by(manifest),
        finalizers=tuple(metadata.get("finalizers") or ()) if metadata.get("deletionTimestamp") else (),
    )


def says_failed(manifest: Manifest) -> bool:
    """Whether an object says itself that it failed."""
    failed = conditions_of(manifest).get("Failed", {}).get("status") == "True"
    return failed or status_of(manifest).get("phase") == "Failed"


def read_pod(manifest: Manifest) -> PodFacts:
    """What a pod says of itself."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, status_of(manifest)
    conditions = conditions_of(manifest)
    scheduled = conditions.get("PodScheduled", {})
    waits = scheduled.get("status") == "False"
    disruption = conditions.get("DisruptionTarget", {})
    disrupted = disruption.get("status") == "True"
    init = status.get("initContainerStatuses") or []
    return PodFacts(
        name=metadata["name"],
        phase=status.get("phase") or "",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        unready=status.get("phase") == "Running" and conditions.get("Ready", {}).get("status") == "False",
        node=spec.get("nodeName") or "",
        rank=rank_of(manifest),
        created=metadata.get("creationTimestamp") or "",
        waits_because=scheduled.get("reason") or "" if waits else "",
        scheduler=scheduled.get("message") or "" if waits else "",
        disruption=disruption.get("reason") or "" if disrupted else "",
        disruption_message=disruption.get("message") or "" if disrupted else "",
        disrupted_at=disruption.get("lastTransitionTime") or "" if disrupted else "",
        asks_for=_asks_for(spec),
        containers=tuple(
            [_read_container(each, init=True) for each in init]
            + [_read_container(each, init=False) for each in status.get("containerStatuses") or []]
        ),
        hidden=tuple(_hidden_values(spec)),
    )


def read_event(manifest: Manifest) -> EventFacts:
    """What an event says."""
    about, series = manifest.get("involvedObject") or {}, manifest.get("series") or {}
    times = (series.get("lastObservedTime"), manifest.get("lastTimestamp"), manifest.get("eventTime"))
    return EventFacts(
        about=f"{about.get('kind', '')} {about.get('name', '')}",
        reason=manifest.get("reason") or "",
        message=(manifest.get("message") or "").removeprefix(_COMBINED),
        warning=manifest.get("type") == "Warning",
        last=next((each for each in times if each), "") or manifest["metadata"].get("creationTimestamp") or "",
        count=series.get("count") or manifest.get("count") or 1,
    )


def merge_events(events: Iterable[EventFacts]) -> tuple[EventFacts, ...]:
    """Events in the order of time, with those that say the same of the same object as one.

    A controller that tries again names another pod each time; what stands in quotes does not tell events apart.
    """
    merged: dict[tuple[str, str, str], EventFacts] = {}
    for event in sorted(events, key=lambda each: each.last):
        key = (event.about, event.reason, re.sub(r'"[^"]*"', "", event.message))
        before = merged.pop(key, None)
        merged[key] = replace(event, count=event.count + before.count) if before else event
    return tuple(merged.values())


def hide(text: str, values: Iterable[str]) -> str:
    """A text without values that must not be shown, and without the password of any URL in it."""
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "***")
    return re.sub(r"(://[^/\s:@]*:)[^/\s@]+@", r"\1***@", text)


def _read_container(status: Mapping[str, Any], *, init: bool) -> ContainerFacts:
    state, before = status.get("state") or {}, status.get("lastState") or {}
    name = next(iter(state), "")
    inside = state.get(name) or {}
    ended = state.get("terminated") or before.get("terminated") or {}
    return ContainerFacts(
        name=status["name"],
        init=init,
        state=name,
        reason=inside.get("reason") or "",
        message=inside.get("message") or "",
        exit_code=ended.get("exitCode"),
        ended_reason=ended.get("reason") or "",
        ended_message=ended.get("message") or "",
        ended_at=ended.get("finishedAt") or "",
        restarts=status.get("restartCount") or 0,
    )


def _asks_for(spec: Mapping[str, Any]) -> str:
    totals = [each.get("resources", {}).get("requests") or {} for each in spec.get("containers") or []]
    asked = [f"{resource}: {amount}" for each in totals for resource, amount in sorted(each.items())]
    asked += [f"{key}={value}" for key, value in sorted((spec.get("nodeSelector") or {}).items())]
    return ", ".join(asked)


def _hidden_values(spec: Mapping[str, Any]) -> Iterable[str]:
    """Values of environment variables that are written in the pod itself under the name of a secret."""
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        for variable in container.get("env") or []:
            value = str(variable.get("value") or "")
            if _SECRET_NAME.search(variable.get("name") or "") and len(value) >= _SHORTEST_HIDDEN:
                yield value
