"""What Vertex AI is sent by the steps of a compiled file: their arguments with the placeholders filled in."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from google.cloud import aiplatform_v1
from google_cloud_pipeline_components.container.v1.gcp_launcher.utils import json_util

COMPILED = Path(__file__).parents[4] / "compiled" / "tabular_train_and_deploy" / "0.1.0" / "vertex.yaml"
_PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['(?P<name>\w+)'\]\}\}")
_METADATA = re.compile(r"\{\{\$\.inputs\.artifacts\['(?P<name>\w+)'\]\.metadata\['resourceName'\]\}\}")


def specification_of(text: str) -> dict[str, Any]:
    """The one document of a file for Vertex AI."""
    specification: dict[str, Any] = yaml.safe_load(text)
    return specification


def payload_of(specification: Mapping[str, Any], task_name: str, **parameters: Any) -> dict[str, Any]:
    """The request that a Google step of the root makes; `parameters` are those of the pipeline.

    Vertex writes texts as they are and everything else as JSON; so does this.
    """
    task = specification["root"]["dag"]["tasks"][task_name]
    component = specification["components"][task["componentRef"]["name"]]
    container = specification["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    values = {
        name: definition["defaultValue"]
        for name, definition in component["inputDefinitions"]["parameters"].items()
        if "defaultValue" in definition
    }
    for name, source in task.get("inputs", {}).get("parameters", {}).items():
        if "runtimeValue" in source:
            values[name] = source["runtimeValue"]["constant"]
        elif source.get("componentInputParameter") in parameters:
            values[name] = parameters[source["componentInputParameter"]]
    text = container["args"][container["args"].index("--payload") + 1]
    if text.startswith('{"Concat"'):
        text = "".join(json.loads(text)["Concat"])
    text = _PARAMETER.sub(lambda match: _written(values[match["name"]]), text)
    payload: dict[str, Any] = json.loads(_METADATA.sub(lambda match: f"the-{match['name']}", text))
    return payload


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def custom_job(payload: dict[str, Any]) -> aiplatform_v1.CustomJob:
    """A payload as the message that Vertex's API takes; a field that it does not know is an error."""
    return aiplatform_v1.CustomJob.from_json(json.dumps(payload), ignore_unknown_fields=False)


def deployed_model(payload: dict[str, Any]) -> aiplatform_v1.DeployModelRequest:
    """A payload as the message that Vertex's API takes, without the empty values that Google's launcher drops."""
    text = json.dumps(json_util.recursive_remove_empty(payload))
    return aiplatform_v1.DeployModelRequest.from_json(text, ignore_unknown_fields=False)
