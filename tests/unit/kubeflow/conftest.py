"""Tiny pipelines in files of their own, as a user writes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stepworks.kubeflow.pipeline import Pipeline, load_pipeline

PREAMBLE = """
from kfp.dsl import Artifact, Input, Output
from stepworks.kubeflow.component import component
from stepworks.kubeflow.pipeline import pipeline
from stepworks.kubeflow.place import place

@component("cpu")
def add(a: int, b: int) -> int:
    \"\"\"Add two numbers.

    Args:
        a: One number,
            and only one.
        b: The other.
    \"\"\"
    print("adding", a, "and", b)
    return a + b

@component("cpu")
def fail(how: str) -> None:
    \"\"\"Fail in a way that is asked for.\"\"\"
    import os, signal, sys
    from stepworks.errors import DataError
    if how == "ours":
        raise DataError("The column x is missing", received="a, b", expected="x", what_to_do="Add the column x.")
    if how == "other":
        raise KeyError("x")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        print("about to give up")
        os._exit(3)
"""


@pytest.fixture
def write_pipeline(tmp_path: Path) -> Callable[[str], Path]:
    """Write a pipeline file: the preamble and what the test adds."""

    def write(text: str) -> Path:
        path = tmp_path / "tiny.py"
        path.write_text(PREAMBLE + text)
        return path

    return write


@pytest.fixture
def make_pipeline(write_pipeline: Callable[[str], Path]) -> Callable[[str], Pipeline]:
    """Write and load a pipeline file."""
    return lambda text: load_pipeline(str(write_pipeline(text)))
