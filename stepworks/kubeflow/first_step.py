"""The step that runs before all others, and what the pipeline needs as its input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import json_format

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.ir.read import parse_ir
from stepworks.kubeflow.ir_yaml import to_yaml
from stepworks.kubeflow.needs import needs_of

_INPUT = "needs"


def put_first(graph: Any, name: str) -> None:
    """Let every task wait for one that checks the cluster, and give that one what the pipeline needs.

    Args:
        graph: kfp's graph component; it is changed.
        name: The task, which waits for no other.

    Raises:
        ConfigurationError: The task is within a loop, a condition or an exit handler.
    """
    tasks = graph.pipeline_spec.root.dag.tasks
    if name not in tasks:
        raise ConfigurationError(
            "The cluster is to be checked before all else, and the check is within a block of the pipeline",
            received="check_first() within a loop, a condition or an exit handler",
            expected="check_first() in the pipeline itself",
            what_to_do="Call it outside of every with block.",
        )
    for other, task in tasks.items():
        if other != name and not task.dependent_tasks:
            task.dependent_tasks.append(name)
    documents = [json_format.MessageToDict(each) for each in (graph.pipeline_spec, graph.platform_spec)]
    ir = parse_ir(to_yaml([each for each in documents if each]), Path(f"{graph.pipeline_spec.pipeline_info.name}.yaml"))
    given = tasks[name].inputs.parameters[_INPUT].runtime_value.constant
    json_format.ParseDict(needs_of(ir, checked_by=name).to_json(), given.struct_value)
