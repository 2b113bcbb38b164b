"""Jobs whose pods simulated nodes play: annotations say what becomes of them (testbed/stages.yaml)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from stepworks.kube.cluster import Cluster
from stepworks.kube.job import JobSpec, job_spec
from stepworks.kube.objects import list_objects, patch
from stepworks.kube.references import Manifest, Selection, reference_to
from stepworks.operations.run_job import run_job
from stepworks.placement.target import Target

ROOT = Path(__file__).parents[3]
TARGET = Target.read(ROOT / "targets" / "a100.yaml")
OUTCOME = "testbed.stepworks.dev/outcome"
SECONDS = 60.0
"""How long anything is waited for: far longer than it takes."""

_Value = TypeVar("_Value")


def played(outcome: str, *, role: str = "small", retries: int = 0, **changes: Any) -> JobSpec:
    """A Job on the nodes of a role whose pods come to an outcome."""
    placement = TARGET.placement(role)
    annotations = {
        OUTCOME: outcome,
        "testbed.stepworks.dev/exit-code": str(changes.pop("exit_code", 1)),
    }
    retry = placement.retry.model_copy(update={"count": retries}) if placement.retry and retries else None
    more = {"annotations": annotations, "retry": retry, "priority_class": changes.pop("priority_class", None)}
    return job_spec(image="registry.example.com/tools:1", placement=placement.model_copy(update=more), **changes)


def run(cluster: Cluster, spec: JobSpec, output: Path, *, name: str = "convert") -> dict[str, Any]:
    """What the step does."""
    return run_job(cluster, spec, name=name, run="r-1", folder="", output=output, scheduling_timeout=SECONDS)


class Background:
    """A step that runs while the test does something to its Job."""

    def __init__(self, step: Callable[[], dict[str, Any]]) -> None:
        self._result: dict[str, Any] = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(step,), daemon=True)
        self._thread.start()

    def _run(self, step: Callable[[], dict[str, Any]]) -> None:
        try:
            self._result = step()
        except Exception as error:  # noqa: BLE001  # raised where the result is asked for
            self._error = error

    def result(self) -> dict[str, Any]:
        """What the step returned, or its error."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the step goes on"
        if self._error:
            raise self._error
        return self._result


def eventually(look: Callable[[], _Value]) -> _Value:
    """The first thing that is found."""
    deadline = time.monotonic() + SECONDS + 30
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come about")


def pods(cluster: Cluster, *phases: str) -> list[Manifest]:
    """The pods of the namespace, in these phases if any are named."""
    found = list_objects(cluster, Selection("v1", "Pod"))
    return [each for each in found if not phases or each.get("status", {}).get("phase") in phases]


def running_besides(cluster: Cluster, *others: Manifest) -> list[Manifest]:
    """The pods that run and are none of these."""
    known = {each["metadata"]["uid"] for each in others}
    return [each for each in pods(cluster, "Running") if each["metadata"]["uid"] not in known]


def let_succeed(cluster: Cluster, *running: Manifest) -> None:
    """Let pods that were to run for ever come to their end."""
    for each in running:
        patch(cluster, reference_to(each), {"metadata": {"annotations": {OUTCOME: "succeeded"}}})
