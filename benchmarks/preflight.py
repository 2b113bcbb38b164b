"""`make bench-preflight`: a check against a large cluster, beside reading its nodes and pods by the official client.

A thousand simulated nodes with eight GPUs each, and five thousand pods of other teams that hold five thousand of them.
Ours is the whole command, with its start, for the flagship compiled for targets/a100.yaml. The peer is a Python process
that lists the nodes and the pods by Kubernetes' own client, as a program would that looks for free GPUs, and does
nothing with them.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import create
from testbed.bed import Bed
from testbed.settings import Settings, gpu_node

NODES = 1000
PODS = 5000
ROUNDS = 5
LIMIT_SECONDS = 5.0
LIMIT_BYTES = 200e6
NAMESPACE = "bench"
_COMPILED = "compiled/tabular_train_and_deploy/0.1.0/a100.yaml"
_PEER = """
from kubernetes import client, config
config.load_kube_config()
core = client.CoreV1Api()
print(len(core.list_node().items), len(core.list_pod_for_all_namespaces().items))
"""


def main() -> None:
    """Fill a cluster, then measure ours and the peer's in turn."""
    with tempfile.TemporaryDirectory() as folder:
        bed = Bed(Path(folder) / "bed", Settings(controllers=(), process_nodes=()), print)
        bed.start()
        try:
            bed.add_simulated_nodes(*(gpu_node(f"gpu-{number}", count=8) for number in range(NODES)))
            bed.kubectl("create", "namespace", NAMESPACE)
            _fill(connect(kubeconfig=bed.kubeconfig, namespace=NAMESPACE))
            environment = {**os.environ, "KUBECONFIG": str(bed.kubeconfig)}
            ours = [str(Path(sys.executable).with_name("stepworks")), "preflight", _COMPILED, "-n", NAMESPACE]
            peer = [sys.executable, "-c", _PEER]
            figures = [(_run(ours, environment, 1), _run(peer, environment, 0)) for _ in range(ROUNDS)]
            own, theirs = zip(*figures, strict=True)
            _show("stepworks preflight", own)
            _show("the client's lists", theirs)
            ratio = statistics.median(lists[0] / command[0] for command, lists in figures)
            print(f"the client's lists/ours {ratio:.2f} (ours is to be under {LIMIT_SECONDS:.0f} s and 200 MB)")
        finally:
            bed.stop()


def _fill(cluster: Cluster) -> None:
    """Make the pods, each on a node already, so that no scheduler has to be waited for."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: create(cluster, _pod(number)), range(PODS)))


def _pod(number: int) -> dict[str, Any]:
    asked = {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": "1"}
    variables = [{"name": f"SETTING_{each}", "value": "x" * 40} for each in range(15)]
    main_container = {
        "name": "main",
        "image": "registry.example.com/team/train:1",
        "env": variables,
        "resources": {"requests": asked, "limits": asked},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"train-{number}", "labels": {"team": "other", "job": f"train-{number // 8}"}},
        "spec": {
            "nodeName": f"gpu-{number % NODES}",
            "tolerations": [{"operator": "Exists"}],
            "containers": [main_container],
        },
    }


def _run(command: list[str], environment: dict[str, str], exit_code: int) -> tuple[float, int]:
    """How long a process takes, in seconds, and the most memory that it has, in bytes."""
    began = time.monotonic()
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(command[0], command, environment, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == exit_code, f"{command} ended with {status}"
    return time.monotonic() - began, usage.ru_maxrss * 1024


def _show(name: str, figures: tuple[tuple[float, int], ...]) -> None:
    seconds, sizes = zip(*figures, strict=True)
    print(
        f"{name}: {statistics.median(seconds):.2f} s in the median ({min(seconds):.2f} to {max(seconds):.2f}), "
        f"{max(sizes) / 1e6:.0f} MB at most"
    )


if __name__ == "__main__":
    main()
