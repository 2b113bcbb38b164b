"""`make bench-ready`: how soon a deployment returns once its service is ready, against the wait of KServe's client.

The real KServe makes InferenceServices ready on a simulated node, whose pods are ready as soon as they are placed. An
observer with a connection of its own watches all of them, and takes the time at which each has the condition Ready for
the first time; from then on it is counted. Ours is `deploy_inference_service`, which makes the service, waits, and sees
that what is ready is what it made. The peer is `wait_isvc_ready` of KServe's client, which reads the service every ten
seconds; what it takes hangs on where in its interval the service becomes ready, so its services may start at moments
that are spread evenly over one.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from kserve import KServeClient
from kubernetes import client, watch
from urllib3.exceptions import HTTPError

from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import apply
from stepworks.kube.builders.inference_service import (
    InferenceServiceSpec,
    build_inference_service,
    inference_service_spec,
)
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.model_service import deploy_inference_service
from testbed.bed import Bed
from testbed.settings import Node, Settings

ROUNDS = 40
POLLS = 10
POLL_SECONDS = 10
LIMIT = 0.200
"""Seconds that the median of ours may take."""
NAMESPACE = "bench"
_STOP = "serving.kserve.io/stop"
_KIND = {"group": "serving.kserve.io", "version": "v1beta1", "plural": "inferenceservices", "namespace": NAMESPACE}


class Observer:
    """Watches every InferenceService by a connection of its own, and remembers when each was ready first."""

    def __init__(self, cluster: Cluster) -> None:
        self._ready: dict[str, float] = {}
        self._changed = threading.Condition()
        self._api = client.CustomObjectsApi(cluster.client)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with suppress(HTTPError):  # the API server ends the watch, when it is stopped
            for event in watch.Watch().stream(self._api.list_namespaced_custom_object, **_KIND):
                seen, service = time.monotonic(), event["object"]
                if _is_ready(service):
                    with self._changed:
                        self._ready.setdefault(service["metadata"]["name"], seen)
                        self._changed.notify_all()

    def ready_at(self, name: str) -> float:
        """When a service was ready first, in seconds of the monotonic clock."""
        with self._changed:
            assert self._changed.wait_for(lambda: name in self._ready, timeout=30), f"{name} was not seen to be ready"
            return self._ready[name]


def main() -> None:
    """Measure ours one after the other, then the peer's at moments spread over its interval."""
    with tempfile.TemporaryDirectory() as folder:
        bed = Bed(Path(folder) / "bed", Settings(controllers=("kserve",), process_nodes=()), print)
        bed.start()
        try:
            bed.add_simulated_nodes(Node("simulated"))
            bed.kubectl("create", "namespace", NAMESPACE)
            cluster, other = (connect(kubeconfig=bed.kubeconfig, namespace=NAMESPACE) for _ in range(2))
            observer = Observer(other)
            ours = [_deploy(cluster, observer, f"deployed-{number}") for number in range(ROUNDS)]
            peer = KServeClient(config_file=str(bed.kubeconfig))
            delays = [POLL_SECONDS * (number + 0.5) / POLLS for number in range(POLLS)]
            names = [f"polled-{number}" for number in range(POLLS)]
            with ThreadPoolExecutor(POLLS) as threads:
                theirs = list(
                    threads.map(lambda name, delay: _poll(peer, cluster, observer, name, delay), names, delays)
                )
            _show("deploy_inference_service", ours)
            _show("KServe's client", theirs)
            ratio = statistics.median(theirs) / statistics.median(ours)
            print(f"KServe's client/ours {ratio:.0f} (the median of ours is to be under {1000 * LIMIT:.0f} ms)")
        finally:
            bed.stop()


def _spec() -> InferenceServiceSpec:
    """A model for Triton, which comes with KServe; a simulated node does not download it."""
    placement = {"workload": "inference", "cpu": {"request": "100m", "limit": "1"}}
    memory = {"request": "100Mi", "limit": "1Gi"}
    return inference_service_spec(
        storage_uri="gs://models/flights/1",
        model_format="onnx",
        mode="Standard",
        placement={**placement, "memory": memory},
    )


def _deploy(cluster: Cluster, observer: Observer, name: str) -> float:
    """How many seconds after its service was ready ours returned."""
    deploy_inference_service(cluster, _spec(), name=name, run="bench", timeout=120, say=lambda _: None)
    returned = time.monotonic()
    return returned - observer.ready_at(name)


def _poll(peer: Any, cluster: Cluster, observer: Observer, name: str, delay: float) -> float:
    """How many seconds after its service was ready the peer returned; it may start when the peer waits for a while."""
    service = build_inference_service(_spec(), name=name)
    apply(cluster, _annotated(service, {_STOP: "true"}))
    with ThreadPoolExecutor(1) as thread:
        returned = thread.submit(_polled, peer, name)
        time.sleep(delay)
        apply(cluster, _annotated(service, {_STOP: "false"}))
        return returned.result() - observer.ready_at(name)


def _polled(peer: Any, name: str) -> float:
    peer.wait_isvc_ready(name, namespace=NAMESPACE, timeout_seconds=120, polling_interval=POLL_SECONDS)
    return time.monotonic()


def _annotated(service: Manifest, annotations: dict[str, str]) -> Manifest:
    metadata = service["metadata"]
    return {**service, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}}}


def _is_ready(service: Manifest) -> bool:
    conditions = service.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _show(name: str, seconds: list[float]) -> None:
    ordered = sorted(1000 * each for each in seconds)
    print(
        f"{name:<26} {len(ordered):>3} services, from ready to the return in ms:  median "
        f"{statistics.median(ordered):8.1f}  fastest {ordered[0]:8.1f}  slowest {ordered[-1]:8.1f}"
    )


if __name__ == "__main__":
    main()
