"""Sending the traffic of a model to its versions, by an InferenceGraph that outlives the runs."""

from __future__ import annotations

from collections.abc import Callable

from stepworks.errors import AlreadyExistsError, ObjectFailedError, WaitTimeoutError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, delete, find, list_objects
from stepworks.kube.api.references import Reference, Selection, located, reference_to
from stepworks.kube.builders.inference_graph import (
    API_VERSION,
    KIND,
    ROUTES_ANNOTATION,
    build_inference_graph,
    read_routes,
)
from stepworks.kube.builders.inference_service import Mode
from stepworks.kube.builders.model_server import SERVER_LABEL
from stepworks.kube.builders.routes import Routes
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.diagnosis.obstacle_check import ObstacleCheck
from stepworks.kube.gateway_checks import refuse_route
from stepworks.kube.kinds.manifests import annotations_of, labels_of
from stepworks.kube.kinds.rules import GONE, INFERENCE_GRAPH_READY, RolledOut
from stepworks.kube.model_traffic import Entrance, approval_command, is_approved, refuse_another_hand, told_routes
from stepworks.kube.runs.adoption import DELETION_SECONDS
from stepworks.kube.waiting.wait import wait, wait_all

ROUTED_SECONDS = 300.0
"""How long the router's new pods may take to replace the old ones."""
DRAINED_SECONDS = 60.0
"""How long the old ones may take to end: they answer for half a minute more what still reaches them."""


class GraphTraffic:
    """The traffic of one model: an InferenceGraph of its name, whose router splits it.

    A change is a roll-out of the router's pods, in which the old ones answer until the new ones are ready.

    Args:
        cluster: Where.
        model: The model's name, which is the graph's.
        mode: How KServe deploys the router; None for the cluster's default.
        replicas: How many routers there are at least.
        timeout: How long a change may take, in seconds.
        say: Is told each line of progress.
    """

    def __init__(
        self,
        cluster: Cluster,
        model: str,
        *,
        mode: Mode | None = None,
        replicas: int = 1,
        timeout: float = ROUTED_SECONDS,
        say: Callable[[str], None] = print,
    ) -> None:
        self._cluster = cluster
        self._mode: Mode | None = mode
        self._replicas = replicas
        self._timeout = timeout
        self._say = say
        self._reference = located(cluster, Reference(API_VERSION, KIND, model))
        self._router = Reference("apps/v1", "Deployment", model, self._reference.namespace)
        self._service = Reference("v1", "Service", model, self._reference.namespace)
        self._sent: Routes | None = None

    @property
    def url(self) -> str:
        """The address at which the model answers within the cluster, whichever versions it has."""
        return f"http://{self._reference.name}.{self._reference.namespace}.svc"

    def entrance(self, path: str) -> Entrance:  # noqa: ARG002  # the router asks the URL of a version, whatever it was asked
        """Where clients send their inference requests: the router takes them at any path."""
        return Entrance(self.url)

    def check(self) -> None:
        """Refuse what cannot work, before anything is changed.

        Raises:
            AlreadyExistsError: The model is served without KServe, by a Deployment that has the router's name; or its
                clients come by a Gateway.
            ClusterError: The API server refuses, fails or does not answer.
        """
        self._refuse_model_server()
        refuse_route(self._cluster, self._reference.name)

    def routes(self) -> Routes | None:
        """Where the traffic goes; None where it goes nowhere yet.

        Raises:
            ConfigurationError: Something else has made a graph of the model's name.
            ClusterError: The API server refuses, fails or does not answer.
        """
        present = find(self._cluster, self._reference)
        return None if present is None else read_routes(present)

    def approved(self, route: str, percent: int) -> bool:
        """Whether a person has said at the graph that a version may get this share of the traffic, or more.

        Raises:
            ClusterError: The API server refuses, fails or does not answer.
        """
        return is_approved(find(self._cluster, self._reference), route, percent)

    def approval(self, route: str, percent: int) -> str:
        """The command by which a person says so."""
        return approval_command(self._reference, route, percent)

    def send(self, routes: Routes) -> None:
        """Send the traffic elsewhere, and return when every router does so.

        Args:
            routes: Where it goes from now on.

        Raises:
            AlreadyExistsError: The model is served without KServe, by a Deployment that has the router's name.
            ConflictError: Somebody else has sent it elsewhere since the last time; nothing was changed.
            ConfigurationError: It cannot be split like this, or something else has made a graph of the model's name.
            AdmissionError: The cluster does not take the graph.
            WorkloadFailedError: The routers do not come about; it says why. The ones from before go on as before.
            ClusterError: The API server refuses, fails or does not answer.
        """
        refuse_another_hand(self._reference.name, self.routes(), self._sent)
        self._refuse_model_server()
        graph = build_inference_graph(routes, name=self._reference.name, mode=self._mode, replicas=self._replicas)
        apply(self._cluster, graph)
        self._sent = read_routes(graph)
        self._say(told_routes(routes))
        told = {ROUTES_ANNOTATION: annotations_of(graph)[ROUTES_ANNOTATION]}
        for reference, rule in ((self._reference, INFERENCE_GRAPH_READY), (self._router, RolledOut(told))):
            check = ObstacleCheck(self._cluster, reference, self._timeout, self._say)
            try:
                wait(self._cluster, reference, until=rule, timeout=self._timeout, while_waiting=check)
            except (ObjectFailedError, WaitTimeoutError) as error:
                raise diagnose(self._cluster, reference, error).error() from error

    def drain(self) -> None:
        """Return when the routers from before are gone, which answer their last clients by the routes from before.

        Raises:
            ClusterError: The API server refuses, fails or does not answer.
        """
        labels = f"serving.kserve.io/inferencegraph={self._reference.name}"
        pods = list_objects(self._cluster, Selection("v1", "Pod", labels=labels, namespace=self._reference.namespace))
        leaving = [reference_to(pod) for pod in pods if pod["metadata"].get("deletionTimestamp")]
        for _ in wait_all(self._cluster, leaving, until=GONE, timeout=DRAINED_SECONDS):
            pass  # one that stays is no reason to stay with it

    def _refuse_model_server(self) -> None:
        present = None if self._sent else find(self._cluster, self._router)
        if present is None or SERVER_LABEL not in labels_of(present):
            return
        raise AlreadyExistsError(
            f"The model {self._router.name} is served without KServe already",
            received=f"a {self._router}, which deploy_model_server made",
            expected="none of that name: KServe gives it to the router of the model",
            what_to_do="Go on with deploy_model_server; or, to change to KServe, delete what it made: "
            f"{self._router.kubectl('delete')} && {self._service.kubectl('delete')}",
        )

    def end(self) -> None:
        """Delete the graph: the model has no version any more that may answer.

        Raises:
            ConflictError: Somebody else has sent the traffic elsewhere; the graph is left as it is.
            ClusterError: The API server refuses, fails or does not answer.
        """
        refuse_another_hand(self._reference.name, self.routes(), self._sent)
        self._sent = None
        if delete(self._cluster, self._reference):
            wait(self._cluster, self._reference, until=GONE, timeout=DELETION_SECONDS)
