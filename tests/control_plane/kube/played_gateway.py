"""A Gateway whose controller is played: what it writes down of routes, and no proxy behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, find
from stepworks.kube.api.references import Reference
from stepworks.kube.kinds.manifests import Manifest
from testbed.bed import Bed

API = "gateway.networking.k8s.io/v1"
ROUTE = Reference(API, "HTTPRoute", "flights")
TRUE = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}


class PlayedGateway:
    """A namespace with the Gateway `public`, and what plays its controller."""

    def __init__(self, bed: Bed, cluster: Cluster) -> None:
        self.bed = bed
        self.cluster = cluster
        self.make_gateway("public")

    def make_gateway(self, name: str, *, programmed: bool = True, **listener: Any) -> None:
        """Make a Gateway, which admits its own namespace."""
        listeners = [{"name": "web", "protocol": "HTTP", "port": 8080, **listener}]
        spec = {"gatewayClassName": "played", "listeners": listeners}
        create(self.cluster, {"apiVersion": API, "kind": "Gateway", "metadata": {"name": name}, "spec": spec})
        if programmed:
            status = {
                "addresses": [{"type": "IPAddress", "value": "10.1.2.3"}],
                "conditions": [condition("Programmed", "True", "Programmed", 1)],
            }
            self.set_status("gateway", name, status)

    def set_status(self, kind: str, name: str, status: Manifest) -> None:
        """Write a status as a controller does."""
        told = json.dumps({"status": status})
        options = ("--subresource=status", "--type=merge", f"--patch={told}")
        self.bed.kubectl("-n", self.cluster.namespace, "patch", kind, name, *options)

    @contextmanager
    def controller(self, **conditions: tuple[str, str]) -> Iterator[None]:
        """Play a controller that says the same of every new generation of the route."""
        ended = threading.Event()

        def play() -> None:
            seen = None
            while not ended.wait(0.05):
                present = find(self.cluster, ROUTE)
                generation = present and (present["metadata"]["uid"], present["metadata"]["generation"])
                if present is None or generation == seen:
                    continue
                parent = {"name": "public", "namespace": self.cluster.namespace}
                told = [condition(name, *each, present["metadata"]["generation"]) for name, each in conditions.items()]
                status = {"parentRef": parent, "controllerName": "example.com/played", "conditions": told}
                self.set_status("httproute", "flights", {"parents": [status]})
                seen = generation

        thread = threading.Thread(target=play)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def condition(name: str, status: str, reason: str, generation: int) -> Manifest:
    """A condition as controllers write it."""
    return {
        "type": name,
        "status": status,
        "reason": reason,
        "message": f"{reason}, it says",
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
