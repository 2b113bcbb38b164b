"""The pod of a compiled task, as Kubeflow Pipelines would start it, with its artifacts in a claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from kfp import dsl

from stepworks.kube.kinds.manifests import Manifest
from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.placement.target import Target
from tests.control_plane.jobs import TARGET


def step_pod(
    pipeline: Pipeline,
    task: str,
    *,
    claim: str,
    run: str,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any],
) -> Manifest:
    """The pod of a task.

    Args:
        pipeline: The pipeline; the target a100 is compiled for, with one claim more.
        task: The task's name in the IR.
        claim: The claim, which the pod mounts at `/mnt/<claim>`.
        run: The run's id, which Kubeflow fills in where it is all of a value, and not in a path.
        inputs: The input artifacts of the executor's input.
        outputs: The output artifacts.
    """
    content = TARGET.model_dump(exclude_unset=True)
    mount = f"/mnt/{claim}"
    claims = {claim: {"claim": claim, "mount_path": mount, "access_mode": "ReadWriteMany"}}
    compiled = compile_pipeline(pipeline, Target.model_validate({**content, "claims": claims}))
    ir = next(iter(yaml.safe_load_all(compiled.text)))
    given = ir["root"]["dag"]["tasks"][task]["inputs"]["parameters"]
    values = {name: each["runtimeValue"]["constant"] for name, each in given.items()}
    declared = ir["components"][f"comp-{task}"]["inputDefinitions"]["parameters"]
    # The IR has no integers; Kubeflow hands them to the step as such.
    values = {
        name: int(value) if declared[name]["parameterType"] == "NUMBER_INTEGER" else value
        for name, value in values.items()
    }
    values = {name: run if value == dsl.PIPELINE_JOB_ID_PLACEHOLDER else value for name, value in values.items()}
    executor_input = {
        "inputs": {"parameterValues": values, **({"artifacts": inputs} if inputs else {})},
        "outputs": {"artifacts": outputs, "outputFile": f"{mount}/executor-output.json"},
    }
    container = ir["deploymentSpec"]["executors"][f"exec-{task}"]["container"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "step"},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "runner",
            "containers": [
                {
                    "name": "main",
                    "image": container["image"],
                    "command": container["command"],
                    "args": [json.dumps(executor_input) if each == "{{$}}" else each for each in container["args"]],
                    "volumeMounts": [{"name": claim, "mountPath": mount}],
                }
            ],
            "volumes": [{"name": claim, "persistentVolumeClaim": {"claimName": claim}}],
        },
    }
