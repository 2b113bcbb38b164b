"""`make bench-overhead`: a trivial pipeline through `stepworks run` against plain kfp.local without pip and venv."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from side_by_side import alternate, show

PIPELINE = """
from stepworks.kubeflow.component import component
from stepworks.kubeflow.pipeline import pipeline

@component("cpu")
def add(a: int, b: int) -> int:
    return a + b

@pipeline(version="1.0.0")
def trivial(n: int = 1):
    \"\"\"Add {steps} times.\"\"\"
    last = add(a=n, b=1)
    for _ in range({steps} - 1):
        last = add(a=last.output, b=1)
"""
PLAIN = """
from kfp import dsl, local

@dsl.component(base_image="python:3.11", install_kfp_package=False)
def add(a: int, b: int) -> int:
    return a + b

@dsl.pipeline
def trivial(n: int = 1):
    last = add(a=n, b=1)
    for _ in range({steps} - 1):
        last = add(a=last.output, b=1)

local.init(local.SubprocessRunner(use_venv=False), pipeline_root="outputs")
trivial(n=1)
"""


def main() -> None:
    """Compare 5 and 20 steps."""
    for steps in (5, 20):
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            (here / "ours.py").write_text(PIPELINE.format(steps=steps))
            (here / "plain.py").write_text(PLAIN.format(steps=steps))
            ours = [sys.executable, "-m", "stepworks", "run", "ours.py"]
            show(
                f"{steps} trivial steps",
                *alternate(ours, [sys.executable, "plain.py"], rounds=7, folder=here),
                limit=1.10,
            )


if __name__ == "__main__":
    main()
