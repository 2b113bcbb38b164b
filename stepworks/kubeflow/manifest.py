"""A compiled pipeline as Kubernetes objects, for a Kubeflow that keeps its pipelines in the Kubernetes API.

Such a server is started with `--pipelinesStoreKubernetes=true`; a pipeline and its versions are then applied with
kubectl or by a GitOps controller. Runs and schedules are no objects and still go through its API.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepworks.errors import UserError
from stepworks.kubeflow.compile import Compiled
from stepworks.kubeflow.ir.read import documents_of, parse_ir
from stepworks.kubeflow.ir_yaml import to_yaml

API_VERSION = "pipelines.kubeflow.org/v2beta1"


def manifest_path(compiled: Compiled) -> Path:
    """Where the objects are kept, beside the IR: `<pipeline>/<version>/kubernetes/<target>.yaml`."""
    return compiled.path.parent / "kubernetes" / compiled.path.name


def manifest(compiled: Compiled) -> str:
    """Write the Pipeline and the PipelineVersion, in the order in which they are to be applied.

    The specification of a PipelineVersion cannot be changed, and its name is unique in the namespace. So the name
    holds the pipeline, the version and the target: what was released once is never asked to become something else.
    """
    ir = parse_ir(compiled.text, compiled.path)
    specification, platform = documents_of(ir)
    version: dict[str, Any] = {
        "displayName": f"{compiled.version}-{compiled.target}",
        "description": ir.description,
        "pipelineName": ir.name,
        "pipelineSpec": specification,
    }
    if platform:
        version["platformSpec"] = platform
    return to_yaml(
        [
            {
                "apiVersion": API_VERSION,
                "kind": "Pipeline",
                "metadata": {"name": ir.name},
                "spec": {"displayName": compiled.pipeline, "description": ir.description},
            },
            {
                "apiVersion": API_VERSION,
                "kind": "PipelineVersion",
                "metadata": {"name": f"{ir.name}-{compiled.version}-{compiled.target}"},
                "spec": version,
            },
        ]
    )


def check_manifests(folder: Path) -> None:
    """See that the objects that are kept below a folder are those of the compiled files beside them.

    Raises:
        UserError: Some are others, or of no compiled file.
    """
    faults = []
    for path in sorted(folder.glob("*/*/kubernetes/*.yaml")):
        source = path.parent.parent / path.name
        if not source.is_file():
            faults.append(f"{path} is of no compiled file")
            continue
        pipeline, version = source.parts[-3:-1]
        if path.read_bytes() != manifest(Compiled(pipeline, version, source.stem, source.read_text())).encode():
            faults.append(f"{path} is not what {source} says")
    if faults:
        raise UserError(
            f"{len(faults)} Kubernetes manifest(s) are stale",
            received="; ".join(faults),
            expected="the objects of the compiled file beside each",
            what_to_do="Run stepworks compile --format kubernetes, or delete them.",
        )
