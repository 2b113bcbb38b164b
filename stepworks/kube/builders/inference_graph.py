"""A KServe InferenceGraph that splits the traffic of one model between two of its versions.

The router asks the URL of a version with the body that it was sent, whatever path it was sent to.
"""

from __future__ import annotations

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.inference_service import Mode
from stepworks.kube.builders.routes import TRIAL_ANNOTATION, Route, Routes
from stepworks.kube.kinds.manifests import Manifest, annotations_of
from stepworks.kube.kinds.names import check_name
from stepworks.kube.runs.belonging import KEEP_LABEL, spec_hash

API_VERSION = "serving.kserve.io/v1alpha1"
KIND = "InferenceGraph"
ROUTES_ANNOTATION = "stepworks.dev/routes"
"""Holds a hash of the routes. KServe gives the graph's annotations to its router's pods, which are told by it."""
_ROOT = "root"
_NO_REQUEST = "none"


def build_inference_graph(routes: Routes, *, name: str, mode: Mode | None = None, replicas: int = 1) -> Manifest:
    """Build the graph; it outlives the run that makes it.

    Args:
        routes: Where the traffic goes.
        name: Its name, by which clients know the model.
        mode: How KServe deploys its router; None for the cluster's default.
        replicas: How many routers there are at least.

    Raises:
        ConfigurationError: The name is not valid, or the traffic cannot be split like this.
    """
    check_name(KIND, name)
    spec = {"minReplicas": replicas, "nodes": {_ROOT: _root(routes)}}
    annotations = {ROUTES_ANNOTATION: spec_hash(spec)}
    if routes.trial:
        annotations[TRIAL_ANNOTATION] = routes.trial
    if mode:
        annotations["serving.kserve.io/deploymentMode"] = mode
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "labels": {KEEP_LABEL: "true"}, "annotations": annotations},
        "spec": spec,
    }


def _root(routes: Routes) -> Manifest:
    asked = routes.asked
    if len(asked) == 1:
        # A sequence of one step draws no lots, so that a version which has all of the traffic really has all.
        return {"routerType": "Sequence", "steps": [_step(asked[0][0])]}
    (stable, stable_share), (candidate, share) = asked
    # The router of KServe 0.17 draws one of the 101 numbers from 0 to 100, and fails where the weights cover 100 only.
    # The candidate takes the odd one, too; a step that never gets a request keeps the sum at the 100 that KServe wants.
    steps = [
        _step(stable) | {"weight": stable_share},
        _step(candidate) | {"weight": share + 1},
        {"name": _NO_REQUEST, "serviceUrl": candidate.url, "weight": -1},
    ]
    return {"routerType": "Splitter", "steps": steps}


def _step(route: Route) -> Manifest:
    return {"name": route.name, "serviceUrl": route.url}


def read_routes(graph: Manifest) -> Routes:
    """Read where a graph that `build_inference_graph` built sends the traffic.

    With one version in it, that is the stable one.

    Raises:
        ConfigurationError: Something else built the graph.
    """
    steps = graph["spec"]["nodes"].get(_ROOT, {}).get("steps") or []
    if ROUTES_ANNOTATION not in annotations_of(graph) or len(steps) not in (1, 3):
        raise ConfigurationError(
            f"The InferenceGraph {graph['metadata']['name']} was not made by Stepworks",
            received=f"a graph with {len(steps)} steps and "
            f"{'the' if ROUTES_ANNOTATION in annotations_of(graph) else 'no'} annotation {ROUTES_ANNOTATION}",
            expected="none of that name, or one that a roll-out made",
            what_to_do="Serve the model under another name; or, if nobody calls the graph any more, delete it.",
        )
    known = [Route(step["name"], step["serviceUrl"]) for step in steps]
    trial = annotations_of(graph).get(TRIAL_ANNOTATION, "")
    if len(known) == 1:
        return Routes(known[0], trial=trial)
    return Routes(known[0], known[1], 100 - int(steps[0]["weight"]), trial)
