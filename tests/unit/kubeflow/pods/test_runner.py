"""How a pod's end is read."""

import signal
from typing import Any

import pytest

from stepworks.kubeflow.pods.runner import exit_code_of


def ended(**terminated: Any) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"name": "main", "state": {"terminated": terminated}}]}}


@pytest.mark.parametrize(
    ("pod", "code"),
    [
        (ended(exitCode=0, reason="Completed"), 0),
        (ended(exitCode=3, reason="Error"), 3),
        (ended(exitCode=137, reason="OOMKilled"), -signal.SIGKILL),
        (ended(exitCode=143, reason="Error"), -signal.SIGTERM),
        (ended(exitCode=255, reason="Error"), 255),
        ({"status": {"containerStatuses": [{"name": "main", "state": {"running": {}}}]}}, None),
        ({"status": {"phase": "Failed", "reason": "Evicted"}}, None),
    ],
)
def test_the_exit_code_of_a_pod_is_that_of_its_container_and_negative_for_a_signal(
    pod: dict[str, Any], code: int | None
) -> None:
    assert exit_code_of(pod) == code
