"""A pipeline of ours: a plain function with a version, built for one target at a time.

kfp traces a pipeline function when it is decorated. Ours are traced when they are built, because what a task
asks for depends on the target.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from kfp import dsl

from stepworks.errors import ConfigurationError, NotFoundError, StepworksError
from stepworks.placement.target import Target

_SEMANTIC_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass
class _Building:
    """What a pipeline is being built for, and the claims that it has asked for so far."""

    target: Target | None
    claims: set[str] = field(default_factory=set)


_building: ContextVar[_Building | None] = ContextVar("building", default=None)


@dataclass(frozen=True)
class Built:
    """A pipeline that was traced.

    Attributes:
        graph: kfp's graph component; its `pipeline_spec` and `platform_spec` are the IR.
        claims: The claims that it uses, as targets name them.
    """

    graph: Any
    claims: frozenset[str]


@dataclass(frozen=True)
class Pipeline:
    """A pipeline function, its name and its version."""

    name: str
    version: str
    function: Callable[..., Any]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters that a run can be given, by name."""
        return dict(inspect.signature(self.function).parameters)

    def build(self, target: Target | None) -> Built:
        """Trace the pipeline for a target, or for this machine when there is none.

        Raises:
            ConfigurationError: The function is no pipeline to kfp, or the target lacks what it asks for.
        """
        building = _Building(target)
        token = _building.set(building)
        try:
            graph = dsl.pipeline(
                name=self.name.replace("_", "-"),
                display_name=f"{self.name} {self.version}",
                description=self.summary,
            )(self.function)
        except StepworksError:
            raise
        except Exception as error:  # kfp raises many kinds, all of them about the function
            raise ConfigurationError(
                f"The pipeline {self.name} cannot be built",
                received=f"{type(error).__name__}: {error}",
                expected="a function that kfp can trace: annotated parameters, steps called with named arguments",
                what_to_do="Correct the pipeline function.",
            ) from error
        finally:
            _building.reset(token)
        return Built(graph, frozenset(building.claims))


def pipeline(*, version: str) -> Callable[[Callable[..., Any]], Pipeline]:
    """Declare a function as a pipeline.

    Args:
        version: The version of what the function composes, `major.minor.patch`.

    Raises:
        ConfigurationError: The version is not of that form.
    """
    if not _SEMANTIC_VERSION.fullmatch(version):
        raise ConfigurationError(
            "A pipeline's version is wrong", received=repr(version), expected="major.minor.patch, for example 1.0.0"
        )
    return lambda function: Pipeline(function.__name__, version, function)


def current_target() -> Target | None:
    """The target that a pipeline is being built for; None for this machine."""
    building = _building.get()
    return building.target if building else None


def claim_path(name: str) -> str:
    """Where a claim is mounted: as the target says, or below `/mnt` on this machine.

    Args:
        name: The claim, as targets name it: `checkpoints`, `datasets`, `registry`.

    Raises:
        ConfigurationError: The target has no such claim.
    """
    note_claim(name)
    target = current_target()
    return target.claim(name).mount_path if target else local_claim_path(name)


def note_claim(name: str) -> None:
    """Remember that the pipeline that is being built uses a claim."""
    building = _building.get()
    if building:
        building.claims.add(name)


def local_claim_path(name: str) -> str:
    """The path that stands for a claim's mount path where there is no target."""
    return f"/mnt/{name}"


def load_pipelines() -> dict[str, Pipeline]:
    """Load every pipeline of the package `stepworks.pipelines`, by name."""
    package = importlib.import_module("stepworks.pipelines")
    modules = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {found.name: found for module in modules for found in _pipelines_in(module)}


def load_pipeline(name: str) -> Pipeline:
    """Load one pipeline by its name, or by the path of the Python file that holds it.

    Raises:
        NotFoundError: There is no such pipeline or file, or the file holds none.
    """
    if name.endswith(".py"):
        return _load_from_file(Path(name))
    pipelines = load_pipelines()
    if name not in pipelines:
        raise NotFoundError(
            f"There is no pipeline {name}",
            received=name,
            expected=f"one of {', '.join(sorted(pipelines)) or 'none'}, or the path of a .py file",
            what_to_do="List the pipelines with: stepworks pipelines",
        )
    return pipelines[name]


def _load_from_file(path: Path) -> Pipeline:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise NotFoundError(f"There is no pipeline file {path}", what_to_do="Correct the path.")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises
        raise ConfigurationError(
            f"The pipeline file {path} does not import",
            received=f"{type(error).__name__}: {error}",
            what_to_do="Correct the file; run it with Python alone to see where it fails.",
        ) from error
    found = [each for each in _pipelines_in(module) if each.function.__module__ == module.__name__]
    if len(found) != 1:
        raise NotFoundError(
            f"{path} does not hold one pipeline",
            received=", ".join(each.name for each in found) or "none",
            expected="one function with the decorator @pipeline of stepworks.kubeflow.pipeline",
        )
    return found[0]


def _pipelines_in(module: ModuleType) -> Iterator[Pipeline]:
    return (value for value in vars(module).values() if isinstance(value, Pipeline))
