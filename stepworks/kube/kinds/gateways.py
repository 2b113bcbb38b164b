"""What a Gateway lets in, and what its controller says of a route: rules of the Gateway API over plain objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from stepworks.kube.kinds.judgement import Judgement, Pending, Succeeded
from stepworks.kube.kinds.manifests import Manifest, condition_line, conditions_of, status_of

GROUP = "gateway.networking.k8s.io"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Listener:
    """A listener of a Gateway that takes the requests of a host.

    Attributes:
        scheme: `http` or `https`.
        port: Its port.
    """

    scheme: str
    port: int

    def url(self, host: str) -> str:
        """The address of a host by it."""
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}")


@dataclass(frozen=True)
class Refused:
    """Why no listener takes a route, with a clause for each of them; empty where there is none."""

    reasons: tuple[str, ...]


def choose_listener(
    gateway: Manifest, namespace: str, labels: Mapping[str, str] | None, host: str
) -> Listener | Refused:
    """The listener by which a route of a namespace gets the requests of a host: one of plain HTTP where there is one.

    Args:
        gateway: The Gateway.
        namespace: The namespace of the route.
        labels: The labels of that namespace; None where they are not known, and its controller is to decide.
        host: The host.
    """
    found: list[Listener] = []
    reasons: list[str] = []
    for listener in gateway["spec"].get("listeners") or []:
        reason = _refusal(listener, gateway["metadata"].get("namespace", ""), namespace, labels, host)
        if reason:
            reasons.append(f"listener {listener['name']}: {reason}")
        else:
            found.append(Listener(str(listener["protocol"]).lower(), int(listener["port"])))
    if not found:
        return Refused(tuple(reasons))
    return min(found, key=lambda each: each.scheme != "http")


def _refusal(listener: Manifest, of_gateway: str, namespace: str, labels: Mapping[str, str] | None, host: str) -> str:
    """Why a listener does not take the route; empty where it does."""
    if listener.get("protocol") not in ("HTTP", "HTTPS"):
        return f"its protocol is {listener.get('protocol')}"
    allowed = listener.get("allowedRoutes") or {}
    kinds = [each.get("kind") for each in allowed.get("kinds") or [] if each.get("group", GROUP) == GROUP]
    if allowed.get("kinds") and "HTTPRoute" not in kinds:
        return "it takes no HTTPRoutes"
    if not hosts_meet(str(listener.get("hostname") or ""), host):
        return f"its host is {listener['hostname']}"
    return _refusal_of_namespace(allowed.get("namespaces") or {}, of_gateway, namespace, labels)


def _refusal_of_namespace(
    allowed: Mapping[str, Any], of_gateway: str, namespace: str, labels: Mapping[str, str] | None
) -> str:
    way = allowed.get("from", "Same")
    if way == "Same" and namespace != of_gateway:
        return f"it takes routes of the namespace {of_gateway} only"
    if way == "Selector" and labels is not None and not _selects(allowed.get("selector") or {}, labels):
        return f"its selector of namespaces does not select {namespace}"
    return ""


def hosts_meet(one: str, other: str) -> bool:
    """Whether there are requests for both of two hosts, each of which may begin with `*.` or be empty for any host.

    `*.example.com` stands for one or more labels before `example.com`, and not for `example.com` itself.
    """
    if not one or not other or one == other:
        return True
    if one.startswith("*.") and other.startswith("*."):
        return one.endswith(other[1:]) or other.endswith(one[1:])
    if one.startswith("*."):
        return other.endswith(one[1:])
    return other.startswith("*.") and one.endswith(other[1:])


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(each, labels) for each in selector.get("matchExpressions") or [])


def _meets(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    return {
        "In": key in labels and labels[key] in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[expression["operator"]]


def is_programmed(gateway: Manifest) -> bool:
    """Whether its controller has set up what takes the requests."""
    return conditions_of(gateway).get("Programmed", {}).get("status") == "True"


def addresses_of(gateway: Manifest) -> list[str]:
    """The addresses at which it takes requests."""
    return [str(each["value"]) for each in status_of(gateway).get("addresses") or [] if each.get("value")]


@dataclass(frozen=True)
class RouteInPlace:
    """The controller of a Gateway has taken the present spec of a route, and found what it sends requests to.

    A route that is not accepted is pending: a controller may hear of a new Service or namespace later than of a route.

    Attributes:
        namespace: The namespace of the Gateway.
        name: Its name.
    """

    namespace: str
    name: str
    goal: ClassVar[str] = "accepted by the Gateway"
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the conditions that the Gateway's controller has set for the present generation."""
        told = [each for status in self._of_gateway(manifest) for each in status.get("conditions") or []]
        if not told:
            return Pending(f"no controller has said anything of it for the Gateway {self.namespace}/{self.name}")
        generation = manifest["metadata"].get("generation", 0)
        present = {each["type"]: each for each in told if each.get("observedGeneration", 0) >= generation}
        wanted = [present.get(name) for name in ("Accepted", "ResolvedRefs")]
        if all(each and each.get("status") == "True" for each in wanted):
            return Succeeded("; ".join(condition_line(each) for each in wanted if each))
        unmet = [condition_line(each) for each in wanted if each and each.get("status") != "True"]
        return Pending("; ".join(unmet) or "its controller has not seen the new spec")

    def _of_gateway(self, route: Manifest) -> Iterator[Mapping[str, Any]]:
        for status in status_of(route).get("parents") or []:
            parent = status.get("parentRef") or {}
            namespace = parent.get("namespace") or route["metadata"].get("namespace")
            if (namespace, parent.get("name")) == (self.namespace, self.name):
                yield status
