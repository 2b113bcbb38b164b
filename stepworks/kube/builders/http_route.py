"""An HTTPRoute of the Gateway API that splits the traffic of one model between two of its versions, by weights.

What the Gateway is sent for the host goes to the Service of a version, at the path that it was sent to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from stepworks.errors import ConfigurationError
from stepworks.kube.api.references import Reference, reference_to
from stepworks.kube.builders.routes import TRIAL_ANNOTATION, Route, Routes
from stepworks.kube.kinds.manifests import Manifest, annotations_of
from stepworks.kube.kinds.names import check_name
from stepworks.kube.runs.belonging import KEEP_LABEL

API_VERSION = "gateway.networking.k8s.io/v1"
KIND = "HTTPRoute"
VERSIONS_ANNOTATION = "stepworks.dev/versions"
"""Holds the versions that get requests, each with the URL at which it answers, in the order of the backends."""
_HTTP_PORT = 80
_URLS = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class Backend:
    """The Service of a version, in the namespace of the route."""

    service: str
    namespace: str
    port: int


def backend_of(route: Route) -> Backend:
    """The Service that answers at the URL of a version, which is one within the cluster.

    Raises:
        ConfigurationError: The URL is not that of a Service.
    """
    url = urlsplit(route.url)
    service, _, rest = (url.hostname or "").partition(".")
    namespace, _, domain = rest.partition(".")
    if not (service and namespace and domain.split(".")[0] == "svc"):
        raise ConfigurationError(
            f"The version {route.name} has no Service that a Gateway could send requests to",
            received=route.url,
            expected="an address within the cluster: http://SERVICE.NAMESPACE.svc",
            what_to_do="Look at status.address of its InferenceService; KServe gives such an address in the mode "
            "Standard.",
        )
    return Backend(service, namespace, url.port or _HTTP_PORT)


def build_http_route(routes: Routes, *, name: str, gateway: Reference, host: str) -> Manifest:
    """Build the route; it outlives the run that makes it.

    Args:
        routes: Where the traffic goes.
        name: Its name, that of the model.
        gateway: The Gateway through which clients come, with its namespace.
        host: The host by which they ask.

    Raises:
        ConfigurationError: The name is not valid, or the traffic cannot be split like this.
    """
    check_name(KIND, name)
    asked = routes.asked
    annotations = {VERSIONS_ANNOTATION: json.dumps({route.name: route.url for route, _ in asked})}
    if routes.trial:
        annotations[TRIAL_ANNOTATION] = routes.trial
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "labels": {KEEP_LABEL: "true"}, "annotations": annotations},
        "spec": {
            "parentRefs": [
                {
                    "group": API_VERSION.partition("/")[0],
                    "kind": gateway.kind,
                    "namespace": gateway.namespace,
                    "name": gateway.name,
                }
            ],
            "hostnames": [host],
            "rules": [{"backendRefs": [_backend_ref(backend_of(route), share) for route, share in asked]}],
        },
    }


def _backend_ref(backend: Backend, weight: int) -> Manifest:
    return {"group": "", "kind": "Service", "name": backend.service, "port": backend.port, "weight": weight}


def read_http_route(route: Manifest) -> Routes:
    """Read where a route that `build_http_route` built sends the traffic, whoever has changed its weights.

    With one version in it, that is the stable one.

    Raises:
        ConfigurationError: Something else built the route, or has changed more of it than weights.
    """
    rules = route["spec"].get("rules") or []
    found = (rules[0].get("backendRefs") or []) if len(rules) == 1 else []
    try:
        urls = _URLS.validate_json(annotations_of(route).get(VERSIONS_ANNOTATION, ""))
        known = [Route(name, url) for name, url in urls.items()]
        services = [backend_of(each).service for each in known]
    except (ValidationError, ConfigurationError):
        known, services = [], []
    if len(known) not in (1, 2) or services != [each.get("name") for each in found]:
        reference = reference_to(route)
        raise ConfigurationError(
            f"The {reference} was not made by Stepworks, or was changed since",
            received=f"a route to {', '.join(str(each.get('name')) for each in found) or 'nothing'}, "
            f"with {VERSIONS_ANNOTATION}: {annotations_of(route).get(VERSIONS_ANNOTATION, 'missing')}",
            expected="none of that name, or one that a roll-out made",
            what_to_do="Serve the model under another name; or see whose it is, and delete it if no client comes by it "
            f"any more: {reference.kubectl('describe')}",
        )
    trial = annotations_of(route).get(TRIAL_ANNOTATION, "")
    if len(known) == 1:
        return Routes(known[0], trial=trial)
    stable, candidate = (int(each.get("weight", 1)) for each in found)
    return Routes(known[0], known[1], round(100 * candidate / max(stable + candidate, 1)), trial)
