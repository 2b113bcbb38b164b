"""Starting model servers and the traffic split under a supervisor."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stepworks.supervisor.processes import ProcessManager

START_SECONDS = 120.0
"""A server takes about 5 CPU seconds to start, KServe's imports for the most part; a busy machine takes longer."""


@dataclass(frozen=True)
class ServerPlan:
    """A model server that is to run.

    Attributes:
        process: The name of its process.
        package: The package that it serves.
        model_name: The model's name in the protocol's paths.
    """

    process: str
    package: Path
    model_name: str


def server_command(package: Path, model_name: str, port: int) -> list[str]:
    """The command that serves a package on loopback."""
    options = {"--model-directory": str(package), "--model-name": model_name, "--port": str(port)}
    return [sys.executable, "-m", "stepworks.serving.server", *(part for pair in options.items() for part in pair)]


def start_servers(manager: ProcessManager, plans: list[ServerPlan]) -> dict[str, str]:
    """Start model servers side by side, and wait until all are ready.

    One that already runs with the same package is adopted, so that a retried step finds what it made before;
    one that runs with another package, or died, is replaced.

    Args:
        manager: Owns the processes.
        plans: The servers.

    Returns:
        The address of each server by its process's name.

    Raises:
        ServingError: A server ended, or was not ready in time.
        ResourceError: A server cannot be started.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(plans))) as pool:
        urls = list(pool.map(lambda plan: _start_server(manager, plan), plans))
    return {plan.process: url for plan, url in zip(plans, urls, strict=True)}


def find_server(manager: ProcessManager, process: str) -> str | None:
    """The address of a server or split that runs; missing when there is none of that name, or when it ended."""
    running = manager.processes().get(process)
    return _origin(running.ready_url) if running is not None and running.running else None


def start_split(manager: ProcessManager, name: str) -> str:
    """Start the traffic split, or adopt the one that runs; its address.

    Raises:
        ServingError: It ended, or was not ready in time.
        ResourceError: It cannot be started.
    """
    running = find_server(manager, name)
    if running is not None:
        return running
    port = manager.free_port()
    command = [sys.executable, "-m", "stepworks.serving.split", "--port", str(port)]
    ready_url = f"http://127.0.0.1:{port}/-/split"
    return _origin(manager.start(name, command, ready_url=ready_url, timeout_seconds=START_SECONDS).ready_url)


def _start_server(manager: ProcessManager, plan: ServerPlan) -> str:
    running = manager.processes().get(plan.process)
    if running is not None and running.running:
        if str(plan.package) in running.command and plan.model_name in running.command:
            return _origin(running.ready_url)
        manager.stop(plan.process)
    port = manager.free_port()
    process = manager.start(
        plan.process,
        server_command(plan.package, plan.model_name, port),
        ready_url=f"http://127.0.0.1:{port}/v2/models/{plan.model_name}/ready",
        timeout_seconds=START_SECONDS,
    )
    return _origin(process.ready_url)


def _origin(url: str) -> str:
    scheme, rest = url.split("://")
    return f"{scheme}://{rest.split('/')[0]}"
