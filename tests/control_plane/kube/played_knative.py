"""Knative as KServe sees it: the revisions of each Knative Service, and the status that tells of them."""

from __future__ import annotations

import copy
import threading
import time
from types import TracebackType
from typing import Any, Self

from stepworks.errors import ClusterError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, list_objects
from stepworks.kube.api.references import Selection, locate, reference_to
from stepworks.kube.api.requests import Request, send
from stepworks.kube.kinds.manifests import Manifest

_SERVICES = Selection("serving.knative.dev/v1", "Service")


class PlayedKnative:
    """Makes a revision of each new template, and tells the traffic as the Knative Service asks for it.

    Args:
        cluster: Where.
        broken: Places of models; a revision that serves one never becomes ready.
        route_first: Whether a changed traffic is told before the revision that belongs to it, as of two controllers of
            which the other is the slower one.
    """

    def __init__(self, cluster: Cluster, *, broken: tuple[str, ...] = (), route_first: bool = False) -> None:
        self._cluster = cluster
        self._broken = broken
        self.route_first = route_first
        self._templates: list[Manifest] = []
        self._ready = 0
        self._seen = 0
        self.shares: list[dict[str, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> Self:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "knative-serving"}}
        settings = {"name": "config-autoscaler", "namespace": "knative-serving"}
        for each in (namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": settings}):
            apply(self._cluster, each)  # without it KServe makes no Knative Service
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def version(self, revision: str) -> str:
        """The version of the model that a revision serves."""
        template = self._templates[int(revision[-5:]) - 1]
        return str(template["metadata"]["annotations"]["stepworks.dev/version"])

    def served(self) -> list[dict[str, int]]:
        """The shares of the versions, one after the other as they changed."""
        told: list[dict[str, int]] = []
        for shares in self.shares:
            of_versions: dict[str, int] = {}
            for revision, share in shares.items():
                name = self.version(revision)
                of_versions[name] = of_versions.get(name, 0) + share
            if not told or told[-1] != of_versions:
                told.append(of_versions)
        return told

    def _play(self) -> None:
        while not self._ended.wait(0.03):
            try:
                for service in list_objects(self._cluster, _SERVICES):
                    if service["metadata"]["generation"] != self._seen:
                        self._reconcile(service)
                        self._seen = service["metadata"]["generation"]
            except ClusterError:
                continue  # it was changed or deleted meanwhile

    def _reconcile(self, service: Manifest) -> None:
        template = service["spec"]["template"]
        if not self._templates or template != self._templates[-1]:
            if self.route_first and self._templates:
                self._tell(service)
                time.sleep(0.5)
            self._templates.append(copy.deepcopy(template))
            if not any(place in str(template) for place in self._broken):
                self._ready = len(self._templates)
        self._tell(service)

    def _tell(self, service: Manifest) -> None:
        metadata = service["metadata"]
        ready = f"{metadata['name']}-{self._ready:05d}" if self._ready else ""
        traffic: list[dict[str, Any]] = []
        for target in service["spec"].get("traffic") or []:
            told = {**target, "revisionName": target.get("revisionName") or ready}
            traffic.append(told)
        shares: dict[str, int] = {}
        for each in traffic:
            if share := each.get("percent") or 0:
                shares[each["revisionName"]] = shares.get(each["revisionName"], 0) + share
        self.shares.append(shares)
        is_ready = "True" if self._ready == len(self._templates) else "False"
        url = f"http://{metadata['name']}.{metadata['namespace']}.svc.cluster.local"
        status = {
            "observedGeneration": metadata["generation"],
            "latestCreatedRevisionName": f"{metadata['name']}-{len(self._templates):05d}",
            "latestReadyRevisionName": ready,
            "traffic": traffic if ready else [],
            "url": url,
            "address": {"url": url},
            "conditions": [
                {"type": "ConfigurationsReady", "status": is_ready},
                {"type": "RoutesReady", "status": "True" if ready else "Unknown"},
                {"type": "Ready", "status": is_ready},
            ],
        }
        address = locate(self._cluster, reference_to(service))
        path, kind = f"{address.path()}/status", "application/merge-patch+json"
        send(self._cluster, Request(address.operation("patch"), "PATCH", path, [], {"status": status}, kind))
