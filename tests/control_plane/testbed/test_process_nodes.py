"""Process nodes: pods that really run, as processes of this machine."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, delete, find, get
from stepworks.kube.api.references import Reference
from testbed.bed import Bed
from testbed.settings import Settings
from tests import pod_namespaces
from tests.waiting import wait_for

IMAGE = "registry.example.com/stepworks/cpu:1"
isolated = pytest.mark.skipif(pod_namespaces.MISSING, reason="pods have namespaces of their own as root on Linux only")


def python(code: str, **more: Any) -> dict[str, Any]:
    """A container that runs Python code."""
    return {"name": "main", "image": IMAGE, "command": ["python", "-u", "-c", code], **more}


def start(cluster: Cluster, name: str, containers: Iterable[dict[str, Any]], **spec: Any) -> None:
    """Create a pod that is not restarted."""
    body = {"restartPolicy": "Never", "containers": list(containers), "terminationGracePeriodSeconds": 2, **spec}
    create(
        cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": body}
    )


def ended(cluster: Cluster, name: str) -> dict[str, Any]:
    """The state with which the pod's container ended."""

    def state() -> Any:
        status = get(cluster, Reference("v1", "Pod", name)).get("status", {})
        if status.get("phase") in {"Succeeded", "Failed"}:
            return status["containerStatuses"][0]["state"]["terminated"]
        return None

    found: dict[str, Any] = wait_for(f"{name} ends", state)
    return found


def log(bed: Bed, cluster: Cluster, name: str, *more: str) -> str:
    return bed.kubectl("logs", "-n", cluster.namespace, name, *more)


def test_variables_and_volumes(process_bed: Bed, process_cluster: Cluster) -> None:
    cluster = process_cluster
    create(cluster, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}})
    secret = {"token": base64.b64encode(b"s3cret").decode()}
    create(cluster, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "data": secret})
    code = (
        "import json, os; print(json.dumps([*(os.environ[name] for name in ['POD', 'A', 'TOKEN', 'BOTH']),"
        "open('/etc/settings/a').read(), open('/etc/login/token').read(), open('/shared/from-init').read()]))"
    )
    variables = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "login", "key": "token"}}},
        {"name": "BOTH", "value": "$(POD)-$(A)"},
    ]
    mounts = [
        {"name": "settings", "mountPath": "/etc/settings"},
        {"name": "login", "mountPath": "/etc/login"},
        {"name": "shared", "mountPath": "/shared"},
    ]
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "login", "secret": {"secretName": "login"}},
        {"name": "shared", "emptyDir": {}},
    ]
    first = python("open('/shared/from-init', 'w').write('hello')", volumeMounts=mounts) | {"name": "first"}
    containers = [python(code, env=variables, volumeMounts=mounts)]
    start(cluster, "pod", containers, volumes=volumes, initContainers=[first])
    assert ended(cluster, "pod")["exitCode"] == 0
    assert json.loads(log(process_bed, cluster, "pod")) == ["pod", "1", "s3cret", "pod-1", "1", "s3cret", "hello"]


def test_the_exit_code_and_the_log_of_a_failure(process_bed: Bed, process_cluster: Cluster) -> None:
    start(process_cluster, "pod", [python("print('one'); print('two'); raise SystemExit(3)")])
    assert (ended(process_cluster, "pod")["exitCode"], ended(process_cluster, "pod")["reason"]) == (3, "Error")
    assert log(process_bed, process_cluster, "pod", "--tail=1") == "two\n"


def test_an_image_that_nothing_stands_for(process_cluster: Cluster) -> None:
    start(process_cluster, "pod", [{"name": "main", "image": "registry.example.com/other:1"}])

    def reasons() -> list[str]:
        statuses = get(process_cluster, Reference("v1", "Pod", "pod")).get("status", {}).get("containerStatuses", [])
        return [status["state"].get("waiting", {}).get("reason", "") for status in statuses]

    wait_for("the image is missing", lambda: {"ErrImagePull", "ImagePullBackOff"} & set(reasons()))


def test_sigterm_comes_before_sigkill(process_bed: Bed, process_cluster: Cluster) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (open('/out/told', 'w').write('SIGTERM'), sys.exit(0)))\n"
        "print('ready'); time.sleep(600)"
    )
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
    create(
        process_cluster,
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "out"}, "spec": claim},
    )
    mount = {"volumeMounts": [{"name": "out", "mountPath": "/out"}]}
    volumes = [{"name": "out", "persistentVolumeClaim": {"claimName": "out"}}]
    start(process_cluster, "pod", [python(code, **mount)], volumes=volumes)
    wait_for("it runs", lambda: get(process_cluster, Reference("v1", "Pod", "pod"))["status"]["phase"] == "Running")
    wait_for("it is ready", lambda: log(process_bed, process_cluster, "pod") == "ready\n")
    delete(process_cluster, Reference("v1", "Pod", "pod"))
    wait_for("it is gone", lambda: find(process_cluster, Reference("v1", "Pod", "pod")) is None)
    told = process_bed.claims / process_cluster.namespace / "out" / "told"
    assert told.read_text() == "SIGTERM"


@isolated
def test_a_container_over_its_memory_limit_is_killed(process_cluster: Cluster) -> None:
    start(process_cluster, "pod", [python("x = bytearray(400 << 20)", resources={"limits": {"memory": "128Mi"}})])
    state = ended(process_cluster, "pod")
    assert (state["exitCode"], state["reason"]) == (137, "OOMKilled")


@isolated
def test_a_service_answers_by_its_name(process_bed: Bed, process_cluster: Cluster) -> None:
    probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
    command = ["python", "-m", "http.server", "8000"]
    server = {"name": "main", "image": IMAGE, "command": command, "readinessProbe": probe}
    start(process_cluster, "server", [server])
    ports = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]}
    create(process_cluster, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": ports})

    def is_ready() -> bool:
        conditions = get(process_cluster, Reference("v1", "Pod", "server")).get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    wait_for("the server is ready", is_ready)
    code = "import urllib.request; print(urllib.request.urlopen('http://web', timeout=10).status)"
    start(process_cluster, "client", [python(code)])
    assert ended(process_cluster, "client")["exitCode"] == 0, log(process_bed, process_cluster, "client")
    assert log(process_bed, process_cluster, "client") == "200\n"


@isolated
def test_nothing_is_left_when_the_node_is_killed(tmp_path: Path) -> None:
    """No process, no network link and no mount outlives it; stopping the bed removes the rest."""
    bed = Bed(tmp_path / "bed", Settings(controllers=(), simulation=False))
    bed.start()
    try:
        create_pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sleeper", "namespace": "default"}}
        marker = f"import time; time.sleep(600)  # {tmp_path}"
        wait_for("pods are taken", lambda: "default" in bed.kubectl("get", "serviceaccounts", "-o", "name"))
        bed.apply(create_pod | {"spec": {"containers": [python(marker)]}})
        wait_for("it runs", lambda: "Running" in bed.kubectl("get", "pod", "sleeper"))
        assert _processes_with(marker)
        links = _links()
        assert len(links) > 1
        bed.daemons["process-node"].kill()
        wait_for("its processes are gone", lambda: not _processes_with(marker))
        wait_for("a link is gone", lambda: len(_links()) < len(links))
        assert str(tmp_path) not in _mounts()
    finally:
        bed.stop()
    assert not bed.folder.exists()


def _processes_with(text: str) -> list[str]:
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "command="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if text in line]


def _links() -> list[str]:
    return [path.name for path in Path("/sys/class/net").iterdir()]


def _mounts() -> str:
    return Path("/proc/mounts").read_text()
