"""How a step reaches the supervisor of its run."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from stepworks.errors import ResourceError
from stepworks.supervisor import ENVIRONMENT_VARIABLE
from stepworks.supervisor.control import error_from_json, process_from_json
from stepworks.supervisor.loopback import direct
from stepworks.supervisor.processes import ManagedProcess

_REQUEST_SECONDS = 30.0


class SupervisorClient:
    """The supervisor of this run, from within another process. Its methods raise what the supervisor raises.

    Args:
        address: The control endpoint, its token included.

    Raises:
        ResourceError: From every method: the supervisor does not answer.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    @classmethod
    def from_environment(cls) -> SupervisorClient | None:
        """The supervisor that `STEPWORKS_SUPERVISOR` names; missing outside of a local run."""
        address = os.environ.get(ENVIRONMENT_VARIABLE)
        return cls(address) if address else None

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready_url: str,
        timeout_seconds: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> ManagedProcess:
        """Start a process and wait until it is ready; see `Supervisor.start`."""
        body = {
            "name": name,
            "command": list(command),
            "ready_url": ready_url,
            "timeout_seconds": timeout_seconds,
            "environment": dict(environment or {}),
        }
        return process_from_json(self._ask("start", body, timeout_seconds + _REQUEST_SECONDS))

    def stop(self, name: str) -> None:
        """End a process and its descendants; see `Supervisor.stop`."""
        self._ask("stop", {"name": name})

    def processes(self) -> dict[str, ManagedProcess]:
        """Every process that was started and not stopped, by name."""
        return {name: process_from_json(content) for name, content in self._ask("processes").items()}

    def free_port(self) -> int:
        """A TCP port on loopback that nobody listens on."""
        return int(self._ask("free-port")["port"])

    def claims(self) -> dict[str, Path]:
        """The local folder of each claim, by its mount path."""
        return {mount: Path(folder) for mount, folder in self._ask("claims").items()}

    def _ask(
        self, action: str, body: dict[str, Any] | None = None, timeout_seconds: float = _REQUEST_SECONDS
    ) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - an address of the run itself
            f"{self._address}/{action}", data=None if body is None else json.dumps(body).encode()
        )
        try:
            with direct.open(request, timeout=timeout_seconds) as answer:
                content: dict[str, Any] = json.load(answer)
                return content
        except urllib.error.HTTPError as error:
            raise error_from_json(json.load(error)) from None
        except (OSError, ValueError) as error:
            raise ResourceError(
                "The supervisor of this run does not answer",
                received=f"{type(error).__name__}: {error}",
                expected=f"a running `stepworks run`, named by {ENVIRONMENT_VARIABLE}",
                what_to_do=f"Start the run again; outside of a run, unset {ENVIRONMENT_VARIABLE}.",
            ) from error


def local_path(path: str | Path) -> Path:
    """Where a path below a claim's mount is on this machine.

    Args:
        path: A path as a step in a cluster sees it, for example `/mnt/registry/flights`.

    Returns:
        The same place in the folder that stands for the claim, under a supervisor that knows the claim; else
        the path as it is.

    Raises:
        ResourceError: The supervisor does not answer.
    """
    client = SupervisorClient.from_environment()
    if client is None:
        return Path(path)
    asked = PurePosixPath(path)
    for mount, folder in sorted(client.claims().items(), key=lambda claim: len(claim[0]), reverse=True):
        if asked.is_relative_to(mount):
            return folder / asked.relative_to(mount)
    return Path(path)
