"""A pipeline of ours: a plain function with a version, built for one target at a time.

kfp traces a pipeline function when it is decorated. Ours are traced when they are built, because what a task
asks for depends on the target.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from kfp import dsl
from kfp.dsl import pipeline_context

from stepworks.errors import ConfigurationError, NotFoundError, StepworksError
from stepworks.kubeflow.dropped_settings import refuse_dropped_settings
from stepworks.kubeflow.semantic_version import SemanticVersion
from stepworks.kubeflow.shared_claims import refuse_shared_claims
from stepworks.placement.target import Target, TrainsIn


@dataclass(frozen=True)
class RunClaim:
    """How the tasks of a run find a volume that holds only what the run needs.

    Attributes:
        path: The path at which they find it; may hold placeholders that KFP fills in when a task starts.
        made: kfp's channel that carries the name of the claim that was made; missing if none was.
    """

    path: str
    made: Any = None


@dataclass
class Building:
    """A pipeline that is being traced.

    Attributes:
        target: What it is built for; missing for this machine.
        claims: The claims that it has asked for so far, as targets name them.
        run_claims: Those that hold only what the run needs.
        made_claims: The names of made claims, by the task and the output that carry the name: `make-claim-claim`.
        makes_objects: Whether a step of it makes objects in the cluster, such as a Job.
        in_images: Packages that only the images hold.
        first: The task that checks the cluster before all others run; empty if there is none.
        configuration: What kfp takes for the pipeline as a whole. kfp reads it when the pipeline is traced.
    """

    target: Target | None = None
    claims: set[str] = field(default_factory=set)
    run_claims: dict[str, RunClaim] = field(default_factory=dict)
    made_claims: dict[str, str] = field(default_factory=dict)
    makes_objects: bool = False
    in_images: frozenset[str] = frozenset()
    first: str = ""
    configuration: dsl.PipelineConfig = field(default_factory=dsl.PipelineConfig)


_PACKAGE = "stepworks.pipelines"

_building: ContextVar[Building | None] = ContextVar("building", default=None)


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
    """A pipeline function with what `pipeline` declares of it.

    Attributes:
        name: The function's name.
        version: Its version.
        function: The function.
        targets: The targets that it is for; all when None.
        in_images: Packages that only the images hold.
    """

    name: str
    version: str
    function: Callable[..., Any]
    targets: frozenset[str] | None = None
    in_images: frozenset[str] = frozenset()

    @property
    def file(self) -> Path:
        """The file that the function is in."""
        return Path(inspect.getsourcefile(self.function) or self.function.__code__.co_filename)

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
            ConfigurationError: The function is no pipeline to kfp, the target lacks what it asks for, tasks that
                may run at once mount a claim that only one of them can have, or a task asks for what Kubeflow would
                drop in silence.
        """
        building = Building(target, in_images=self.in_images)
        token = _building.set(building)
        try:
            with _cached_by_default():
                graph = dsl.pipeline(
                    name=self.name.replace("_", "-"),
                    display_name=f"{self.name} {self.version}",
                    description=self.summary,
                    pipeline_config=building.configuration,
                )(self.function)
        except StepworksError:
            raise
        except Exception as error:  # kfp raises many kinds, all of them about the function
            raise ConfigurationError(
                f"The pipeline {self.name} cannot be built",
                received=f"{type(error).__name__}: {error}",
                expected="a function that kfp can trace: annotated parameters, steps called with named arguments that "
                "they have (components/README.md lists those of the library's own)",
                what_to_do="Correct the pipeline function.",
            ) from error
        finally:
            _building.reset(token)
        if target:
            refuse_dropped_settings(graph.pipeline_spec)
            refuse_shared_claims(graph.pipeline_spec, graph.platform_spec, target.claims, building.made_claims)
        if building.first:
            from stepworks.kubeflow.first_step import put_first  # what is built for this machine needs no IR

            put_first(graph, building.first)
        return Built(graph, frozenset(building.claims))


@contextmanager
def _cached_by_default() -> Iterator[None]:
    """Build the same whether KFP_DISABLE_EXECUTION_CACHING_BY_DEFAULT is set or not.

    kfp reads it once, when it is imported; of our own tasks the placement says whether they are cached.
    """
    kfp_pipeline: Any = pipeline_context.Pipeline
    default = kfp_pipeline.get_execution_caching_default()
    kfp_pipeline._execution_caching_default = True  # noqa: SLF001  # kfp has no function for it
    try:
        yield
    finally:
        kfp_pipeline._execution_caching_default = default  # noqa: SLF001


def pipeline(
    *, version: str, targets: Collection[str] | None = None, in_images: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Pipeline]:
    """Declare a function as a pipeline.

    Args:
        version: The version of what the function composes, `major.minor.patch`.
        targets: The targets that it is compiled for; all that there are when None.
        in_images: Packages that only the images of the steps hold, and not the machine that compiles. References into
            them, such as `team.churn:build_model`, are then not followed when the pipeline compiles.

    Raises:
        ConfigurationError: The version is not of that form.
    """
    if SemanticVersion.parse(version) is None:
        raise ConfigurationError(
            "A pipeline's version is wrong", received=repr(version), expected="major.minor.patch, for example 1.0.0"
        )
    chosen = None if targets is None else frozenset(targets)
    return lambda function: Pipeline(function.__name__, version, function, chosen, frozenset(in_images))


def current_building() -> Building:
    """The pipeline that is being built; an empty one for this machine where none is."""
    return _building.get() or Building()


def current_target() -> Target | None:
    """The target that a pipeline is being built for; None for this machine."""
    return current_building().target


def on_vertex() -> bool:
    """Whether the pipeline is being built for Vertex AI."""
    target = current_target()
    return target is not None and target.backend == "vertex"


def trains_in() -> TrainsIn:
    """In what the target has pipelines train; `step` on this machine."""
    target = current_target()
    return target.training if target else "step"


def claim_path(name: str) -> str:
    """Where tasks find a claim: as the target says, or below `/mnt` on this machine.

    Within `with run_claims(name)` it is the run's own place: a folder of the run in a claim that exists, a claim
    that was made for the run, or KFP's workspace.

    Args:
        name: The claim, as targets name it: `checkpoints`, `datasets`, `registry`.

    Raises:
        ConfigurationError: The target has no such claim, or has one that only `run_claims` can give.
    """
    building = current_building()
    building.claims.add(name)
    if name in building.run_claims:
        return building.run_claims[name].path
    if building.target is None:
        return local_claim_path(name)
    claim = building.target.claim(name)
    if claim.create or claim.workspace:
        raise needs_run_claims(name, building.target)
    return claim.path


def needs_run_claims(name: str, target: Target) -> ConfigurationError:
    """The error of a pipeline that takes a claim for lasting which the target makes for each run."""
    kind = "create" if target.claim(name).create else "workspace"
    return ConfigurationError(
        f"The claim {name} does not outlive a run on the target {target.name}",
        received=f"{name}: {kind}, used outside of `with run_claims({name!r}):`",
        expected="a claim that exists, or tasks within `with run_claims(...)`",
        what_to_do=f"Use it within `with run_claims({name!r}):`, or give it a `claim:` in targets/{target.name}.yaml.",
    )


def local_claim_path(name: str) -> str:
    """The path that stands for a claim's mount path where there is no target."""
    return f"/mnt/{name}"


def load_pipelines() -> dict[str, Pipeline]:
    """Load every pipeline of the package `stepworks.pipelines`, by name.

    Raises:
        ConfigurationError: A module of the package does not import.
    """
    package = importlib.import_module(_PACKAGE)
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return {found.name: found for name in names for found in _pipelines_in(_import(name))}


def load_pipeline(name: str) -> Pipeline:
    """Load one pipeline by its name, or by the path of the Python file that holds it.

    Raises:
        NotFoundError: There is no such pipeline or file, or the file holds none.
        ConfigurationError: The module or the file does not import.
    """
    if name.endswith(".py"):
        return _load_from_file(Path(name))
    # A pipeline mostly has its module's name; then another one that is broken does not matter.
    if name.isidentifier() and importlib.util.find_spec(f"{_PACKAGE}.{name}"):
        found = {each.name: each for each in _pipelines_in(_import(name))}
        if name in found:
            return found[name]
    pipelines = load_pipelines()
    if name not in pipelines:
        raise NotFoundError(
            f"There is no pipeline {name}",
            received=name,
            expected=f"one of {', '.join(sorted(pipelines)) or 'none'}, or the path of a .py file",
            what_to_do="List the pipelines with: stepworks pipelines",
        )
    return pipelines[name]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    except StepworksError:
        raise
    except Exception as error:  # whatever the user's module raises
        raise _broken(Path(f"pipelines/{name}.py"), error) from error


def _broken(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"The pipeline file {path} does not import",
        received=f"{type(error).__name__}: {error}",
        what_to_do="Correct the file; run it with Python alone to see where it fails.",
    )


def _load_from_file(path: Path) -> Pipeline:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise NotFoundError(f"There is no pipeline file {path}", what_to_do="Correct the path.")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises
        raise _broken(path, error) from error
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
