"""Reading a file of IR: which documents it holds, and everything that is reached from the root."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

from stepworks.kubeflow.ir.cursor import Cursor
from stepworks.kubeflow.ir.documents import find_documents
from stepworks.kubeflow.ir.executor_model import Executor
from stepworks.kubeflow.ir.executors import read_executor, read_kubernetes
from stepworks.kubeflow.ir.located import LocatedMap, parse_documents, position_of, read_text, refuse
from stepworks.kubeflow.ir.model import ROOT, Component, Dag, Ir, Note, Task
from stepworks.kubeflow.ir.source import JsonPath
from stepworks.kubeflow.ir.tasks import below, read_component, read_selectors, read_task
from stepworks.kubeflow.ir_yaml import FOR_VERTEX

MOST_TASKS = 100_000
"""Tasks with each use of a shared component counted; nested components can ask for 2 to the power of their depth."""

DEEPEST_DAG = 100
"""Dags inside one another. `kfp` writes one level for each loop, branch and nested pipeline."""

_SCHEMA = (2, 1)
_FOR_VERTEX = re.compile(rf"(#.*\n)*{re.escape(FOR_VERTEX)}\n")
_GOOGLE_CLOUD_STEPS = re.compile(r"(^|/)google-cloud-pipeline-components[:@/]")


def read_ir(path: Path) -> Ir:
    """Read a compiled pipeline: IR YAML or JSON, or a Kubernetes manifest that holds it (PipelineVersion).

    Memory and time are bounded by the size of the file, which is bounded too, whatever stands in it.

    Raises:
        ConfigurationError: The file cannot be read, is not a compiled pipeline of KFP 2, or is not of its schema;
            the message names the line and what the file is instead.
    """
    return parse_ir(read_text(path), path)


def parse_ir(text: str, path: Path) -> Ir:
    """Read a compiled pipeline from its text; `path` is what messages call it. Otherwise as `read_ir`."""
    raw = find_documents(parse_documents(text, path), path)
    cursor = Cursor(path, raw, raw)
    notes = _check_schema(cursor, path)
    kubernetes = cursor.child("platforms").child("kubernetes").child("deploymentSpec")
    settings = {label: read_kubernetes(each) for label, each in kubernetes.children("executors")}
    executors = {
        label: read_executor(label, each, settings.get(label))
        for label, each in cursor.child("deploymentSpec").children("executors")
    }
    cursors = {ROOT: cursor.child(ROOT), **{name: each for name, each in cursor.children("components") if name != ROOT}}
    components = {name: read_component(name, each) for name, each in cursors.items()}
    walk = _Walk(path, raw, cursors, components, executors)
    walk.dag(ROOT, "", ())
    info = cursor.child("pipelineInfo")
    return Ir(
        file=path,
        name=info.text("name"),
        display_name=info.text("displayName"),
        description=info.text("description"),
        schema_version=cursor.text("schemaVersion"),
        sdk_version=cursor.text("sdkVersion"),
        backend=_backend(text, raw, executors),
        components=components,
        executors=executors,
        dags=walk.dags,
        tasks=tuple(walk.tasks),
        platform_executors={label: each.location for label, each in settings.items()},
        notes=notes,
        raw=raw,
    )


def _check_schema(cursor: Cursor, path: Path) -> tuple[Note, ...]:
    version = cursor.text("schemaVersion")
    match = re.match(r"([0-9]{1,6})\.([0-9]{1,6})(\.|$)", version)
    numbers = (int(match[1]), int(match[2])) if match else (0, 0)
    if numbers[0] != _SCHEMA[0]:
        refuse(
            path,
            position_of(cursor.value, ("schemaVersion",)),
            "the IR is of a schema that this reader does not know",
            received=f"schemaVersion: {version or 'none'}",
            expected=f"schemaVersion {_SCHEMA[0]}.{_SCHEMA[1]}.0, which kfp 2 writes",
            do="Compile the pipeline with kfp 2, or take a newer Stepworks.",
        )
    if numbers > _SCHEMA:
        text = f"The schema {version} is newer than {_SCHEMA[0]}.{_SCHEMA[1]}; what it added is not read"
        return (Note(text, ("schemaVersion",)),)
    return ()


def _backend(text: str, raw: LocatedMap, executors: Mapping[str, Executor]) -> Literal["kubeflow", "vertex"]:
    """What the pipeline was compiled for. Vertex takes no platform document, and Kubeflow has no custom jobs.

    A pipeline for Vertex without custom jobs looks like one for Kubeflow, but for the line that compiling writes.
    """
    if raw.get("platforms"):
        return "kubeflow"
    if _FOR_VERTEX.match(text):
        return "vertex"
    of_google = any(each.kind == "customJob" or _GOOGLE_CLOUD_STEPS.search(each.image) for each in executors.values())
    return "vertex" if of_google else "kubeflow"


class _Walk:
    """Goes from the root to every task; keeps each dag once, and its tasks once for each way to it."""

    def __init__(
        self,
        path: Path,
        raw: LocatedMap,
        cursors: Mapping[str, Cursor],
        components: Mapping[str, Component],
        executors: Mapping[str, Executor],
    ) -> None:
        self.dags: dict[str, Dag] = {}
        self.tasks: list[Task] = []
        self._path, self._raw = path, raw
        self._cursors, self._components, self._executors = cursors, components, executors

    def dag(self, name: str, above: str, way: tuple[str, ...]) -> None:
        """Walk the dag of a component that is reached through the task `above` and the components of `way`."""
        cursor = self._cursors[name].child("dag")
        if name in way:
            self._refuse(cursor.path, "a component holds itself", " > ".join([*way, name]), "no circle of components")
        if len(way) == DEEPEST_DAG:
            self._refuse(cursor.path, "the dags are nested too deeply", f"more than {DEEPEST_DAG}", "fewer levels")
        known = self.dags.get(name)
        tasks = [below(task, above) for task in known.tasks.values()] if known else self._read_dag(name, above, cursor)
        for task in tasks:
            self.tasks.append(task)
            if len(self.tasks) > MOST_TASKS:
                self._refuse(cursor.path, "the pipeline has too many tasks", f"more than {MOST_TASKS:,}", "fewer tasks")
            if task.has_dag:
                self.dag(task.component, task.path, (*way, name))

    def _read_dag(self, name: str, above: str, cursor: Cursor) -> list[Task]:
        tasks = [self._read_task(each, above, name) for _, each in cursor.children("tasks")]
        self.dags[name] = Dag(name, {task.name: task for task in tasks}, read_selectors(cursor))
        return tasks

    def _read_task(self, cursor: Cursor, above: str, dag: str) -> Task:
        component = self._components.get(cursor.child("componentRef").text("name"))
        executor = self._executors.get(component.executor) if component and component.executor else None
        return read_task(cursor, above, dag, component, executor)

    def _refuse(self, location: JsonPath, problem: str, received: str, expected: str) -> NoReturn:
        position = position_of(self._raw, location)
        do = "Compile the pipeline again, or undo the edit of the compiled file."
        refuse(self._path, position, problem, received=received, expected=expected, do=do)


def documents_of(ir: Ir) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline's document and the platform's, which may be empty, as KFP's own loader would have them."""
    specification = {key: value for key, value in ir.raw.items() if key != "platforms"}
    platform = {"platforms": ir.raw["platforms"]} if "platforms" in ir.raw else {}
    return specification, platform
