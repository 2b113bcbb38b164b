"""What the ServiceAccount of each step must be allowed to do in its namespace, as data.

The Roles in `cluster/base/roles` are made from this; pre-flight asks the API server for it before a pipeline is
uploaded. Every authenticated client may do the rest that steps do: read what the API server serves, and ask what it may
do itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

When = Literal[
    "",
    "workflow",
    "claim",
    "job",
    "trainjob",
    "override",
    "pytorchjob",
    "tfjob",
    "experiment",
    "inference-service",
    "graph",
    "gateway",
    "knative",
    "model-server",
    "autoscaling",
    "custom-metric",
    "keda",
]
"""What makes a permission necessary:

- empty: nothing, it always is.
- `workflow`: the cluster knows Argo Workflows, and the run's is to own what the step makes.
- `claim`, `job`, `trainjob`, `pytorchjob`, `tfjob`, `experiment`: the step makes, or the exit step has to delete, such
  an object; for `tune`, it is what its trials are.
- `override`: a TrainJob for which the placement asks for what only a TrainingRuntime of its own can say.
- `inference-service`: the versions of the model are InferenceServices. The only case but for `model-server`, below.
- `graph`: an InferenceGraph splits the traffic: the service names neither a Gateway nor the mode Knative.
- `gateway`: the service names a Gateway, and an HTTPRoute splits the traffic.
- `knative`: the service has the mode Knative, and its versions are revisions.
- `model-server`: the versions are Deployments, as deploy_model_server makes them.
- `autoscaling`: the service has `autoscaling`. `custom-metric`: of the kind that makes a HorizontalPodAutoscaler.
  `keda`: of a kind that makes a ScaledObject.
"""
WHEN: tuple[str, ...] = get_args(When)
"""The words of `When`."""


@dataclass(frozen=True)
class Permission:
    """Verbs on resources of one API group, in the namespace of the run.

    Attributes:
        group: The API group; empty for Kubernetes' own first one.
        resources: The resources, `pods/log` for a subresource.
        verbs: The verbs, each of which is needed on each of the resources.
        when: What makes it necessary.
        optional: Whether the step does its work without it. Then it says less: what broke, or why a pod waits; or the
            run's Workflow does not own what the step made, which the exit step deletes all the same.
        namespace: Where it is needed: in the namespace of the run, or in that of the Gateway.
    """

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    when: When = ""
    optional: bool = False
    namespace: Literal["run", "gateway"] = "run"


_KSERVE = "serving.kserve.io"
_TRAINER = "trainer.kubeflow.org"
_OPERATOR = "kubeflow.org"
_GATEWAY = "gateway.networking.k8s.io"
_WAIT = ("list", "watch")


def _lists(group: str, *resources: str, when: When = "") -> Permission:
    """What a diagnosis lists, from an object down to its pods."""
    return Permission(group, resources, ("list",), when, optional=True)


_DIAGNOSIS = (_lists("", "pods", "events"), Permission("", ("pods/log",), ("get",), optional=True))
_OWNER = (_lists("argoproj.io", "workflows", when="workflow"),)
_OWN_ENDING = ("create", "get", *_WAIT, "patch", "delete")
"""Of a job that is made or adopted, waited for, and let go of: suspended, or else deleted."""
_RUNTIME = Permission(_TRAINER, ("trainingruntimes",), ("create", "get", *_WAIT), "override")
_SERVED_BY = _lists("apps", "replicasets")
_ROUTER = Permission("apps", ("deployments",), ("get", *_WAIT), "graph")
_OLD_ROUTERS = Permission("", ("pods",), _WAIT, "graph")  # until they are gone
_OTHER_ROUTE = Permission(_GATEWAY, ("httproutes",), ("get",), optional=True)
_OTHER_GRAPH = Permission(_KSERVE, ("inferencegraphs",), ("get",), "gateway", optional=True)
_GATEWAYS = Permission(_GATEWAY, ("gateways",), ("get",), "gateway", namespace="gateway")
_NAMESPACE = Permission("", ("namespaces",), ("get",), "gateway", optional=True)
_BACKENDS = Permission("", ("services",), ("get",), "gateway")
_ROUTES = Permission(_GATEWAY, ("httproutes",), ("create", "get", *_WAIT, "patch", "delete"), "gateway")
_SCALING = (
    Permission("autoscaling", ("horizontalpodautoscalers",), ("list",), "autoscaling"),
    Permission("autoscaling", ("horizontalpodautoscalers",), ("create", "patch"), "custom-metric"),
    Permission("keda.sh", ("scaledobjects",), ("list",), "autoscaling"),
    Permission("keda.sh", ("scaledobjects",), ("create", "get", "watch", "patch"), "keda"),
    Permission("apps", ("deployments",), _WAIT, "autoscaling"),
)

_ON_KSERVE = (
    Permission(_KSERVE, ("inferenceservices",), _OWN_ENDING),
    Permission(_KSERVE, ("inferencegraphs",), ("create", "get", *_WAIT, "patch"), "graph"),
    Permission(_KSERVE, ("inferencegraphs",), ("get",), "knative"),  # to see that no graph splits the traffic
    _OTHER_GRAPH,
    _OTHER_ROUTE,
    _ROUTER,
    _lists("apps", "deployments"),
    _SERVED_BY,
    *_DIAGNOSIS,
    *_SCALING,
    _ROUTES,
    _GATEWAYS,
    _NAMESPACE,
    _BACKENDS,
)

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = MappingProxyType(
    {
        # It looks, and tells what it may not look at; what is of the whole cluster is in cluster/cluster-wide.
        "preflight": (
            Permission(
                "", ("namespaces", "serviceaccounts", "persistentvolumeclaims", "configmaps"), ("get",), optional=True
            ),
            Permission("", ("resourcequotas",), ("list",), optional=True),
            Permission(_KSERVE, ("servingruntimes",), ("list",), "inference-service", optional=True),
        ),
        "make_claim": (
            Permission("", ("persistentvolumeclaims",), ("create", "get", *_WAIT)),
            *_OWNER,
        ),
        "run_job": (
            Permission("batch", ("jobs",), _OWN_ENDING),
            *_DIAGNOSIS,
            *_OWNER,
        ),
        "train_distributed": (
            Permission(_TRAINER, ("trainjobs",), _OWN_ENDING, "trainjob"),
            _RUNTIME,
            _lists("jobset.x-k8s.io", "jobsets", when="trainjob"),
            _lists("batch", "jobs", when="trainjob"),
            Permission(_OPERATOR, ("pytorchjobs",), _OWN_ENDING, "pytorchjob"),
            Permission(_OPERATOR, ("tfjobs",), _OWN_ENDING, "tfjob"),
            *_DIAGNOSIS,
            *_OWNER,
        ),
        "tune": (
            Permission(_OPERATOR, ("experiments",), ("create", "get", *_WAIT, "delete")),
            Permission(_OPERATOR, ("trials",), ("list",)),
            _RUNTIME,
            # Nothing is made by it: Trainer is asked whether it knows the runtime.
            Permission(_TRAINER, ("trainjobs",), ("create",), "override"),
            *_DIAGNOSIS,
            *_OWNER,
        ),
        "deploy": _ON_KSERVE,
        # Where the versions are plain Deployments, it takes what deploy_model_server does, too.
        "serve_version": (
            *_ON_KSERVE,
            _OLD_ROUTERS,
        ),
        "roll_out_canary": (
            Permission(_KSERVE, ("inferenceservices",), ("get", "list", "delete"), "inference-service"),
            Permission(_KSERVE, ("inferenceservices",), ("watch", "patch"), "knative"),
            Permission("serving.knative.dev", ("services",), ("get",), "knative"),
            Permission(_KSERVE, ("inferencegraphs",), ("create", "get", *_WAIT, "patch", "delete"), "graph"),
            _ROUTER,
            Permission("apps", ("deployments",), ("get", "list", "delete"), "model-server"),
            Permission("", ("services",), ("delete",), "model-server"),
            _OLD_ROUTERS,
            _lists("apps", "deployments"),
            _SERVED_BY,
            *_DIAGNOSIS,
            Permission("keda.sh", ("scaledobjects",), ("get", "patch"), "keda"),
            _ROUTES,
            _GATEWAYS,
            _NAMESPACE,
            _BACKENDS,
        ),
        "compare_answers": (
            Permission(_KSERVE, ("inferenceservices",), ("get",), "inference-service"),
            Permission("apps", ("deployments",), ("get",), "model-server"),
        ),
        "deploy_model_server": (
            Permission("apps", ("deployments",), _OWN_ENDING),
            Permission("", ("services",), _OWN_ENDING),
            Permission("", ("pods",), _WAIT),  # until the pods of the version before are gone
            _SERVED_BY,
            *_DIAGNOSIS,
            _OTHER_GRAPH,
            _OTHER_ROUTE,
            _ROUTES,
            _GATEWAYS,
            _NAMESPACE,
        ),
        "clean_up_run": (
            Permission("", ("persistentvolumeclaims",), ("list", "delete"), "claim"),
            Permission("batch", ("jobs",), ("list", "delete"), "job"),
            Permission(_TRAINER, ("trainjobs",), ("list", "delete"), "trainjob"),
            Permission(_TRAINER, ("trainingruntimes",), ("list", "delete"), "override"),
            Permission(_OPERATOR, ("pytorchjobs",), ("list", "delete"), "pytorchjob"),
            Permission(_OPERATOR, ("tfjobs",), ("list", "delete"), "tfjob"),
            Permission(_OPERATOR, ("experiments",), ("list", "delete"), "experiment"),
        ),
    }
)
"""By the name of a component; one that makes no calls is missing. Where what makes a permission necessary is several
things, it is there several times."""
