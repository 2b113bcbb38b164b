"""IR written by hand, small enough to see what a test is about."""

from pathlib import Path
from typing import Any

import yaml

from stepworks.kubeflow.ir.model import Ir
from stepworks.kubeflow.ir.read import read_ir

Documents = list[dict[str, Any]]


def accelerated(count: str = "1", kind: str = "nvidia.com/gpu") -> dict[str, Any]:
    """An executor with accelerators."""
    resources = {"accelerator": {"resourceType": kind, "resourceCount": count}}
    return {"container": {"image": "example.com/steps:1", "resources": resources}}


def pipeline(tasks: dict[str, Any], **dags: dict[str, Any]) -> Documents:
    """A pipeline of tasks, each `{"on": component or executor, "after": [...], ...fields of the task}`.

    Args:
        tasks: The tasks of the root.
        **dags: The tasks of the component `comp-<name>`, written in the same way.
    """
    components: dict[str, Any] = {
        f"comp-{name}": {"dag": {"tasks": dict(map(_task, inner.items()))}} for name, inner in dags.items()
    }
    executors: dict[str, Any] = {}
    for each in [task for group in (tasks, *dags.values()) for task in group.values()]:
        if isinstance(each.get("on"), int):
            executors[f"exec-gpu-{each['on']}"] = accelerated(str(each["on"]))
            components[f"comp-gpu-{each['on']}"] = {"executorLabel": f"exec-gpu-{each['on']}"}
    executors["exec-plain"] = {"container": {"image": "example.com/steps:1"}}
    components["comp-plain"] = {"executorLabel": "exec-plain"}
    return [
        {
            "schemaVersion": "2.1.0",
            "pipelineInfo": {"name": "small"},
            "root": {"dag": {"tasks": dict(map(_task, tasks.items()))}},
            "components": components,
            "deploymentSpec": {"executors": executors},
        }
    ]


def _task(item: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    name, given = item
    fields = dict(given)
    on, after = fields.pop("on", "plain"), fields.pop("after", [])
    reference = f"comp-gpu-{on}" if isinstance(on, int) else f"comp-{on}"
    return name, {"componentRef": {"name": reference}, "dependentTasks": list(after), **fields}


def loop(items: list[Any] | None = None, limit: int | None = None) -> dict[str, Any]:
    """The fields of a task that make it a loop, over items that are known or not."""
    given = {"raw": yaml.dump(items, default_flow_style=True)} if items is not None else {"inputParameter": "items"}
    policy = {"iteratorPolicy": {"parallelismLimit": limit}} if limit else {}
    return {"parameterIterator": {"itemInput": "item", "items": given}, **policy}


def read(documents: Documents, folder: Path) -> Ir:
    """Write the documents to a file and read them."""
    path = folder / "ir.yaml"
    path.write_text(yaml.dump_all(documents, Dumper=yaml.CSafeDumper), encoding="utf-8")
    return read_ir(path)
