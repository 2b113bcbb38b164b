"""A small target for Vertex AI, and pipelines compiled for it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.placement.target import Target

PREAMBLE = """
from kfp import dsl, kubernetes
from kfp.dsl import Input, Model, Output
from stepworks.kubeflow.component import component
from stepworks.kubeflow.pipeline import claim_path, on_vertex, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.vertex.deploy import deploy_on_vertex

@component("cpu")
def add(a: int, b: int = 1) -> int:
    \"\"\"Add two numbers.\"\"\"
    return a + b  # the sum

@component("cpu")
def package_model(package: Output[Model]) -> None:
    \"\"\"Write a package.\"\"\"

@pipeline(version="1.0.0")
def tiny(n: int = 1):
"""
PLAIN: dict[str, Any] = {"cpu": {"request": "4", "limit": "4"}, "memory": {"request": "16Gi", "limit": "16Gi"}}
MACHINE: dict[str, Any] = {**PLAIN, "vertex": {"machine_type": "n1-standard-8"}, "cache": False}
TARGET: dict[str, Any] = {
    "name": "vertex",
    "backend": "vertex",
    "images": {"cpu": "example/cpu:1", "serving": "example/serving:1"},
    "placements": {"plain": PLAIN, "machine": MACHINE},
    "roles": {"small": "plain", "training": "machine", "serving": "machine"},
    "claims": {"data": {"gcs": "bucket/data", "access_mode": "ReadWriteMany"}},
}


@pytest.fixture
def make_target() -> Callable[..., Target]:
    """A target, with changes of the placement `machine` and of the whole."""

    def make(machine: dict[str, Any] | None = None, **changed: Any) -> Target:
        content = copy.deepcopy(TARGET) | changed
        content["placements"]["machine"] |= machine or {}
        return Target.model_validate(content)

    return make


@pytest.fixture
def compile_tiny(tmp_path: Path) -> Callable[[str, Target], str]:
    """Compile a pipeline of which the lines of the body are given."""

    def compile_(body: str, target: Target) -> str:
        path = tmp_path / "tiny.py"
        path.write_text(PREAMBLE + "".join(f"    {line}\n" for line in body.splitlines()))
        return compile_pipeline(load_pipeline(str(path)), target).text

    return compile_
