"""Texts of the IR that KFP's driver puts something else in place of."""

from __future__ import annotations

import re

WORKSPACE = "{{$.workspace_path}}"
"""Where the workspace of the run is mounted."""

INPUT_START = "{{$.inputs.parameters["
"""How each placeholder of an input begins, however its name is quoted."""

INPUT = re.compile(re.escape(INPUT_START) + r"'(?P<name>[^']*)'\]\}\}")
"""The value of an input of the task, as kfp writes it."""


def placeholder_input(text: str) -> str:
    """The input that a setting stands for when it is one placeholder and nothing else; empty otherwise."""
    match = INPUT.fullmatch(text)
    return match["name"] if match else ""
