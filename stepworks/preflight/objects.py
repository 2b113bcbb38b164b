"""The objects that steps make, built from what is known of a step before it runs.

They are built by what builds the real ones, under a name of their own, so that a cluster can be asked whether it takes
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.claims import build_claim
from stepworks.kube.builders.http_route import build_http_route
from stepworks.kube.builders.inference_graph import build_inference_graph
from stepworks.kube.builders.inference_service import build_inference_service, inference_service_spec
from stepworks.kube.builders.job import build_job, job_spec
from stepworks.kube.builders.model_server import build_model_server, model_server_spec
from stepworks.kube.builders.pytorch_job import build_pytorch_job
from stepworks.kube.builders.routes import Route, Routes
from stepworks.kube.builders.scalers import build_scaler
from stepworks.kube.builders.tf_job import build_tf_job
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.preflight.admission import NAME, STAND_IN_IMAGE
from stepworks.kube.training_job import DEFAULT_RUNTIME, train_job_and_runtime, training_job_kind, training_job_spec
from stepworks.placement.pod_placement import PodPlacement
from stepworks.report.traffic_splitter import TrafficSplitter
from stepworks.serving.formats.kserve import served
from stepworks.serving.kserve.traffic import splitter_of, without_splitter
from stepworks.settings_file import whole_numbers
from stepworks.tuning.experiment import build_experiment, trial_kind, trial_template
from stepworks.tuning.spec import tuning_spec
from stepworks.tuning.trial_job import build_trial

RUN = "preflight"
"""Stands for the run's id in names and labels."""
_ADDRESS = f"http://{NAME}.{RUN}.svc"
_GATEWAY = "gateway.networking.k8s.io/v1"

Given = Mapping[str, Any]


def objects_of(cluster: Cluster, component: str, given: Given) -> Iterator[Manifest]:
    """Build what a step makes.

    Args:
        cluster: Where; of some objects it says which fields are served.
        component: The function of its component.
        given: What is known of its inputs.

    Raises:
        ConfigurationError: A value is wrong, or is known only when the step runs.
        NotFoundError: The cluster does not know a kind.
    """
    yield from BUILDERS[component](cluster, whole_numbers(given))


def _run_job(_: Cluster, given: Given) -> Iterable[Manifest]:
    fields = ("config_maps", "secrets", "completions", "parallelism")
    yield build_job(job_spec(**_pods(given, *fields)), name=NAME, run=RUN)


def _train_distributed(cluster: Cluster, given: Given) -> Iterable[Manifest]:
    kind = training_job_kind(given.get("kind", "TrainJob"))
    fields = ("config_maps", "secrets", "nodes", "least_nodes", "parameter_servers", "evaluator")
    spec = training_job_spec(**_pods(given, *fields))
    if kind == "TrainJob":
        runtime = given.get("runtime", DEFAULT_RUNTIME)
        job, own_runtime, _ = train_job_and_runtime(cluster, spec, name=NAME, run=RUN, runtime=runtime)
        # Trainer refuses a TrainJob whose runtime is not there yet.
        yield own_runtime or job
        return
    build = build_pytorch_job if kind == "PyTorchJob" else build_tf_job
    yield build(spec, name=NAME, run=RUN)


def _tune(cluster: Cluster, given: Given) -> Iterable[Manifest]:
    pods = _pods(given)
    fields = ("space", "objective", "algorithm", "algorithm_settings", "trials", "parallel_trials")
    spec = tuning_spec(**{name: given[name] for name in fields if name in given})
    trial = build_trial(
        cluster,
        trial_kind(given.get("kind", "Job")),
        image=pods["image"],
        placement=pods["placement"],
        mounts=pods["mounts"],
        nodes=given.get("nodes", 1),
        workspace=f"/{NAME}",
        parameters=spec.space,
        name=NAME,
        run=RUN,
        active_deadline_seconds=1,
    )
    yield build_experiment(spec, trial_template(trial.manifest), name=NAME, run=RUN)
    if trial.runtime:
        yield trial.runtime


def _inference_service(cluster: Cluster, given: Given) -> Iterable[Manifest]:
    placement, splitter, asked = _service(given)
    way = served(given["format"], str(asked.get("runtime", "")))
    spec = inference_service_spec(
        **{**asked, "runtime": way.runtime},
        storage_uri=_model_uri(placement),
        model_format=way.model_format,
        protocol=way.protocol,
        mode=splitter.mode,
        placement=placement.placement,
    )
    yield build_inference_service(spec, name=NAME)
    if spec.autoscaling:
        limits = {"min_replicas": spec.min_replicas, "max_replicas": spec.max_replicas}
        scaler = build_scaler(spec.autoscaling, name=NAME, namespace=cluster.namespace, **limits)
        if scaler:
            yield scaler
    yield from _splitting(splitter)


def _service(given: Given) -> tuple[PodPlacement, TrafficSplitter, dict[str, Any]]:
    """Where a model server runs, what splits its traffic, and the other settings of its service."""
    service = given.get("service", {})
    asked = {name: value for name, value in without_splitter(service).items() if name != "annotations"}
    return PodPlacement.from_json(given["placement"]), splitter_of(service), asked


def _splitting(splitter: TrafficSplitter) -> Iterator[Manifest]:
    """What splits the traffic of the versions; Knative does that by itself."""
    routes = Routes(Route(NAME, _ADDRESS))
    if splitter.gateway:
        namespace, _, name = splitter.gateway.partition("/")
        gateway = Reference(_GATEWAY, "Gateway", name, namespace)
        yield build_http_route(routes, name=NAME, gateway=gateway, host=splitter.host)
    elif not splitter.on_knative:
        yield build_inference_graph(routes, name=NAME, mode=splitter.mode)


def _deploy_model_server(_: Cluster, given: Given) -> Iterable[Manifest]:
    placement, splitter, asked = _service(given)
    spec = model_server_spec(
        **asked, image=given.get("image", STAND_IN_IMAGE), version="1", placement=placement.placement
    )
    yield from build_model_server(spec, name=NAME)
    if splitter.gateway:
        yield from _splitting(splitter)


def _serve_version(cluster: Cluster, given: Given) -> Iterable[Manifest]:
    """With an image the versions are plain Deployments."""
    return _deploy_model_server(cluster, given) if given.get("image") else _inference_service(cluster, given)


def _make_claim(_: Cluster, given: Given) -> Iterable[Manifest]:
    storage_class = given.get("storage_class") or None
    yield build_claim(NAME, RUN, size=given["size"], access_mode=given["access_mode"], storage_class=storage_class)


def _nothing(_: Cluster, _given: Given) -> Iterable[Manifest]:
    return ()


def _pods(given: Given, *fields: str) -> dict[str, Any]:
    placement = PodPlacement.from_json(given["placement"])
    return {
        "image": given.get("image", STAND_IN_IMAGE),
        "placement": placement.placement,
        "mounts": placement.mounts_of(RUN),
        **{name: given[name] for name in fields if name in given},
    }


def _model_uri(placement: PodPlacement) -> str:
    return f"pvc://{placement.mounts[0].claim}/{NAME}" if placement.mounts else f"hf://{NAME}/{NAME}"


BUILDERS: Mapping[str, Callable[[Cluster, Given], Iterable[Manifest]]] = {
    "run_job": _run_job,
    "train_distributed": _train_distributed,
    "tune": _tune,
    "deploy": _inference_service,
    "serve_version": _serve_version,
    "deploy_model_server": _deploy_model_server,
    "make_claim": _make_claim,
    # These change what others made, and need permissions only.
    "roll_out_canary": _nothing,
    "compare_answers": _nothing,
    "clean_up_run": _nothing,
}
"""What builds the objects of each component."""
