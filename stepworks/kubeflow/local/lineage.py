"""What a run was made of: the code's revision and the versions of what it ran on."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

_PACKAGES = ("stepworks", "kfp", "polars", "torch", "scikit-learn", "onnx", "onnxruntime", "kserve")


@functools.cache
def package_versions() -> dict[str, str]:
    """The versions of Python and of the packages that the work depends on, where they are installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def code_revision(folder: Path) -> str | None:
    """The Git revision of a folder, with `-dirty` when it differs from it; None outside of a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None
