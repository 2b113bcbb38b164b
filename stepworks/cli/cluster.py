"""`stepworks run --cluster`: a pipeline's steps as pods of a test bed, its report, and what is served afterwards."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from stepworks.cli.run import told_report
from stepworks.cli.summary import show_summary
from stepworks.errors import NotFoundError, UserError
from stepworks.files import write_atomically
from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.services import post_to_service
from stepworks.kubeflow.arguments import declared_by, parse_arguments
from stepworks.kubeflow.local.run import Run, execute
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.kubeflow.pods.run import cluster_run
from stepworks.kubeflow.step_inputs import of_steps
from stepworks.placement.target import read_targets
from stepworks.report.documents import DeploymentDocument, RegistrationDocument


@dataclass(frozen=True)
class Place:
    """Where a pipeline is to run.

    Attributes:
        target: The name of the target that it is built for.
        targets: The folder of target files.
        namespace: The namespace of the pods; that of the kubeconfig's context when None.
        service_account: The ServiceAccount of the pods.
    """

    target: str | None
    targets: Path
    namespace: str | None
    service_account: str


def run_on_cluster(name: str, assignments: Sequence[str], home: Path, place: Place) -> None:
    """Run a pipeline's steps as pods; write its report whether it succeeds or fails, and ask what it deployed.

    Raises:
        UserError: The pipeline, a parameter, the target or the cluster is wrong; nothing was started.
        StepFailedError: A step failed.
        ClusterError: The cluster fails, or what is served does not answer.
    """
    pipeline = load_pipeline(name)
    parameters, inputs = of_steps(assignments)
    arguments = parse_arguments(pipeline.name, declared_by(pipeline), parameters)
    cluster = connect(namespace=place.namespace)
    stream = sys.stdout  # this one, also while kfp's own printing is caught
    with cluster_run(
        pipeline,
        arguments,
        home,
        inputs,
        target=read_targets(place.targets, [_required(place)])[place.target or ""],
        cluster=cluster,
        service_account=place.service_account,
    ) as run:
        try:
            execute(run, stream)
        except BaseException as error:
            error.add_note(told_report(run))
            raise
        show_summary(run, run.write_report(), stream, keep_serving=True)
        for deployment in run.documents_of(DeploymentDocument):
            _ask_once(run, cluster, deployment, stream)


def _required(place: Place) -> str:
    if place.target is None:
        raise UserError(
            "What the cluster is like is not known",
            received="--cluster without --target",
            expected="a target, whose labels, taints and claims the cluster has",
            what_to_do="Name it, for example with --target a100.",
        )
    return place.target


def _ask_once(run: Run, cluster: Cluster, deployment: DeploymentDocument, stream: TextIO) -> None:
    """Ask the served model for one recorded row through its router, and say how to do so, and how to end it."""
    from stepworks.serving.client import request_body
    from stepworks.serving.manifest import ONNXRUNTIME, OUTPUT, Samples, read_package

    package = _package_of(run, deployment)
    samples, manifest = Samples.read(package), read_package(package)
    splitter = deployment.splitter
    if manifest.format != ONNXRUNTIME or splitter.gateway or splitter.on_knative:
        where = "" if splitter.gateway else " in the cluster"
        stream.write(f"{deployment.service} is at {deployment.url}{where}, asked as {manifest.format} is.\n")
        return
    signature = {each.name: each.datatype for each in manifest.inputs}
    body = request_body(signature, samples.rows[:1])
    answer = post_to_service(cluster, deployment.service, body)
    (value,) = next(each for each in answer["outputs"] if each["name"] == OUTPUT)["data"]
    request = write_atomically(run.folder / "request.json", json.dumps(body).encode())
    kubectl = f"kubectl -n {cluster.namespace}"
    stream.write(
        f"Asked {deployment.service} for a recorded row: probability {value:.4f}, "
        f"offline {samples.probabilities[0]:.4f}; {answer['model_name']} answered.\n"
        f"Ask it:   {kubectl} port-forward service/{deployment.service} 8080:80, and beside it\n"
        f"          curl --data @{shlex.quote(str(request))} http://127.0.0.1:8080\n"
        f"Stop it:  {kubectl} delete inferencegraph/{deployment.service} inferenceservice/{answer['model_name']}\n"
    )


def _package_of(run: Run, deployment: DeploymentDocument) -> Path:
    """The package that was deployed, as the run has it: the registry is in the cluster."""
    from stepworks.serving.manifest import MANIFEST_FILE, SAMPLES_FILE, read_package

    digests = {
        each.digest
        for each in run.documents_of(RegistrationDocument)
        if (each.name, str(each.version)) == (deployment.service, deployment.candidate_version)
    }
    for artifacts in run.artifacts.values():
        for path in artifacts.values():
            is_package = all((path / name).is_file() for name in (MANIFEST_FILE, SAMPLES_FILE))
            if is_package and read_package(path).digest in digests:
                return path
    raise NotFoundError(
        f"The run has no package of {deployment.service}",
        received=f"version {deployment.candidate_version}",
        expected="a step that packages what is registered",
        what_to_do=f"Ask the model yourself: it is at {deployment.url} within the cluster.",
    )
