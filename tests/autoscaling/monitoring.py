"""A real Prometheus in a pod. It is told what to scrape as its usual discovery of pods does it.

Debian's Prometheus is built without the discovery in Kubernetes, so that a thread of the tests plays that part. It
writes the pods with the annotation `prometheus.io/scrape` into a file, with the labels `namespace` and `pod`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client

from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import apply, create
from stepworks.kube.api.references import reference_to
from stepworks.kube.kinds.rules import POD_READY
from stepworks.kube.waiting.wait import wait
from testbed.bed import Bed
from tests.control_plane.jobs import TARGET
from tests.control_plane.serving.conftest import claim

NAMESPACE = "monitoring"
_OF_POD = "prometheus.io/"


@contextmanager
def monitored(bed: Bed) -> Iterator[None]:
    """Scrape the pods of a bed every second."""
    cluster = connect(kubeconfig=bed.kubeconfig, namespace=NAMESPACE)
    folder = claim(bed, cluster, "targets")
    _start_prometheus(cluster)
    ended = threading.Event()
    thread = threading.Thread(target=_discover, args=(cluster, folder / "pods.json", ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _start_prometheus(cluster: Cluster) -> None:
    found = {"files": ["/etc/targets/pods.json"], "refresh_interval": "1s"}
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "pods", "file_sd_configs": [found]}],
    }
    settings = {"metadata": {"name": "prometheus"}, "data": {"config.yaml": json.dumps(configuration)}}
    apply(cluster, {"apiVersion": "v1", "kind": "ConfigMap", **settings})
    mounts = {"settings": "/etc/settings", "targets": "/etc/targets", "data": "/data"}
    container = {
        "name": "prometheus",
        "image": TARGET.image("serving"),  # the programs of this machine
        "command": ["prometheus", "--config.file=/etc/settings/config.yaml", "--storage.tsdb.path=/data"],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
    }
    volumes = [
        {"name": "settings", "configMap": {"name": "prometheus"}},
        {"name": "targets", "persistentVolumeClaim": {"claimName": "targets"}},
        {"name": "data", "emptyDir": {}},
    ]
    metadata = {"name": "prometheus", "labels": {"app": "prometheus"}}
    spec = {"containers": [container], "volumes": volumes}
    pod = create(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    wait(cluster, reference_to(pod), until=POD_READY, timeout=120)


def _discover(cluster: Cluster, path: Path, ended: threading.Event) -> None:
    core = client.CoreV1Api(cluster.client)
    known: list[Any] = []
    while not ended.wait(0.5):
        found = [_target(pod) for pod in core.list_pod_for_all_namespaces().items if _is_scraped(pod)]
        if found != known:
            part = path.with_suffix(".part")
            part.write_text(json.dumps(found))
            part.rename(path)
            known = found


def _is_scraped(pod: Any) -> bool:
    annotations = pod.metadata.annotations or {}
    return annotations.get(f"{_OF_POD}scrape") == "true" and bool(pod.status.pod_ip) and pod.status.phase == "Running"


def _target(pod: Any) -> dict[str, Any]:
    annotations = pod.metadata.annotations
    address = f"{pod.status.pod_ip}:{annotations[f'{_OF_POD}port']}"
    labels = {
        "__metrics_path__": annotations.get(f"{_OF_POD}path", "/metrics"),
        "namespace": pod.metadata.namespace,
        "pod": pod.metadata.name,
    }
    return {"targets": [address], "labels": labels}
