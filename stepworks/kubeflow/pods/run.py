"""A run whose steps are pods: prepared from a pipeline, a target and a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from stepworks.kube.api.cluster import Cluster
from stepworks.kubeflow.local.run import Run, open_folder
from stepworks.kubeflow.local.steps import read_steps
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.kubeflow.pods.bed import require_test_bed
from stepworks.kubeflow.pods.runner import Executors, PodRunner
from stepworks.kubeflow.step_inputs import give_inputs
from stepworks.placement.target import Target


@contextmanager
def cluster_run(
    pipeline: Pipeline,
    arguments: Mapping[str, Any],
    home: Path,
    inputs: Iterable[str] = (),
    *,
    target: Target,
    cluster: Cluster,
    service_account: str,
) -> Iterator[Run]:
    """Prepare a run on a test bed; when it has ended, none of its pods is left.

    What a step makes by itself stays: a model that was deployed goes on serving.

    Args:
        pipeline: What to run.
        arguments: The values of its parameters.
        home: The folder of all runs, `.stepworks`.
        inputs: What steps are given in place of the pipeline, as `step.input=value`.
        target: What it is built for; its claims and the ServiceAccount exist in the namespace.
        cluster: The test bed, and the namespace of the pods.
        service_account: The ServiceAccount of the pods.

    Raises:
        ParameterError: There is no such input, or its value has another type.
        ConfigurationError: The cluster is no test bed, or the target lacks what the pipeline asks for.
        ResourceError: The run's folder cannot be made.
        ClusterError: The API server fails or does not answer.
    """
    built = pipeline.build(target)
    given = give_inputs(built.graph, inputs)
    require_test_bed(cluster)
    started, run_id, folder = open_folder(pipeline, home)
    executors = read_executors(built.graph)
    short_id = run_id.removeprefix(f"{pipeline.name}-")
    runner = PodRunner(cluster, executors, run=short_id, folder=folder, service_account=service_account)
    steps = read_steps(built.graph.pipeline_spec)
    yield Run(pipeline, built.graph, arguments, run_id, folder, runner, started, steps, inputs=given)


def read_executors(graph: Any) -> Executors:
    """Read the executors of a pipeline that kfp has traced, by their components' names."""
    ir = json_format.MessageToDict(graph.pipeline_spec)
    platforms = json_format.MessageToDict(graph.platform_spec).get("platforms", {})
    settings = platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    labels = {
        name.removeprefix("comp-"): component["executorLabel"]
        for name, component in ir["components"].items()
        if "executorLabel" in component
    }
    executors = ir["deploymentSpec"]["executors"]
    return Executors(
        {name: executors[label] for name, label in labels.items()},
        {name: settings[label] for name, label in labels.items() if label in settings},
    )
