"""The Go modules that the test bed's programs are built from, and the cache of what was built.

A folder of testbed/modules pins every dependency by its go.sum. What is built from it is kept outside of the
checkout under the hash of the folder and the Go version, so a second start builds nothing, two checkouts share
what is the same, and a changed pin is a new build.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stepworks.errors import ConfigurationError, RunError

FOLDER = Path(__file__).parent / "modules"
_KUBERNETES_VERSION = "1.36.3"


@dataclass(frozen=True)
class Module:
    """One folder of testbed/modules.

    Attributes:
        name: The folder.
        programs: What is built: the program's name and its package.
        manifests: Files that a start needs, from modules of the build: a module's path to globs within it.
        variables: What the linker sets: a variable's full name to its value.
        on_demand: Whether it is built only where it is asked for, since few tests want it.
    """

    name: str
    programs: Mapping[str, str]
    manifests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    on_demand: bool = False


_COMPONENT_VERSION = "k8s.io/component-base/version."
_KSERVE = "github.com/kserve/kserve"
_TRAINER = "github.com/kubeflow/trainer/v2"
_OPERATOR = "github.com/kubeflow/training-operator"
_JOBSET = "sigs.k8s.io/jobset"
_ARGO = "github.com/argoproj/argo-workflows/v3"
_KNATIVE = "knative.dev"
_KEDA = "github.com/kedacore/keda/v2"
_KSERVE_PROGRAMS = {"kserve": f"{_KSERVE}/cmd/manager", "router": f"{_KSERVE}/cmd/router"}
_KSERVE_MANIFESTS = {
    _KSERVE: (
        "config/crd/full/serving.kserve.io_*.yaml",
        "config/crd/full/clusterstoragecontainer/serving.kserve.io_*.yaml",
        "test/crds/gatewayapi_*.yaml",
        "test/crds/keda.yaml",
        "test/crds/knative_service.yaml",
        "config/configmap/inferenceservice.yaml",
        "config/runtimes/*.yaml",
        "config/webhook/manifests.yaml",
        "python/sklearnserver/sklearnserver/*.py",
        "python/storage/kserve_storage/*.py",
        "python/storage-initializer/scripts/initializer-entrypoint",
    )
}
_TRAINER_PROGRAMS = {"trainer": f"{_TRAINER}/cmd/trainer-controller-manager", "jobset": _JOBSET}
_TRAINER_MANIFESTS = {
    _TRAINER: (
        "manifests/base/crds/trainer.kubeflow.org_*.yaml",
        "manifests/base/runtimes/torch_distributed.yaml",
        "manifests/base/webhook/manifests.yaml",
    ),
    _JOBSET: ("config/components/crd/bases/*.yaml", "config/components/webhook/manifests.yaml"),
}

MODULES = {
    module.name: module
    for module in (
        Module(
            "kubernetes",
            {"kubernetes": "."},
            variables={
                f"{_COMPONENT_VERSION}gitVersion": f"v{_KUBERNETES_VERSION}",
                f"{_COMPONENT_VERSION}gitMajor": _KUBERNETES_VERSION.split(".", maxsplit=1)[0],
                f"{_COMPONENT_VERSION}gitMinor": _KUBERNETES_VERSION.split(".")[1],
            },
        ),
        Module("etcd", {"etcd": "."}),
        Module("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
        Module("process-node", {"process-node": "."}),
        Module("trainer-2.1", _TRAINER_PROGRAMS, _TRAINER_MANIFESTS),
        Module(
            "trainer-2.3",
            {**_TRAINER_PROGRAMS, "training-operator": "./training-operator"},
            {**_TRAINER_MANIFESTS, _OPERATOR: ("manifests/base/crds/*.yaml",)},
        ),
        Module("kserve-0.17", _KSERVE_PROGRAMS, _KSERVE_MANIFESTS),
        Module("kserve-0.20", _KSERVE_PROGRAMS, _KSERVE_MANIFESTS),
        Module(
            "argo",
            {"workflow-controller": f"{_ARGO}/cmd/workflow-controller"},
            {_ARGO: ("manifests/base/crds/full/argoproj.io_*.yaml",)},
        ),
        Module(
            "keda",
            {"keda-operator": f"{_KEDA}/cmd/operator", "keda-adapter": f"{_KEDA}/cmd/adapter"},
            {_KEDA: ("config/crd/bases/*.yaml",)},
            on_demand=True,
        ),
        Module(
            "prometheus-adapter",
            {"prometheus-adapter": "sigs.k8s.io/prometheus-adapter/cmd/adapter"},
            on_demand=True,
        ),
        Module(
            "knative",
            {
                name: f"{_KNATIVE}/serving/cmd/{name}"
                for name in ("activator", "autoscaler", "controller", "queue", "webhook")
            },
            {
                f"{_KNATIVE}/serving": ("config/core/*.yaml", "config/core/*/*.yaml"),
                f"{_KNATIVE}/networking": ("config/*.yaml",),
                f"{_KNATIVE}/caching": ("config/*.yaml",),
            },
            on_demand=True,
        ),
        Module(
            "traefik",
            {"traefik": "github.com/traefik/traefik/v3/cmd/traefik"},
            {"sigs.k8s.io/gateway-api": ("config/crd/standard/gateway.networking.k8s.io_*.yaml",)},
            on_demand=True,
        ),
    )
}


def cache_folder() -> Path:
    """Where the built programs are kept, outside of every checkout."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "stepworks" / "testbed"


def built(name: str, say: Callable[[str], None] = lambda _: None) -> Path:
    """The folder with the programs and manifests of a module; they are built if they are not there yet.

    Args:
        name: The module's folder.
        say: Is told before a build, which takes minutes.

    Raises:
        ConfigurationError: It must be built, and Go is missing.
        RunError: The build failed.
    """
    module = MODULES[name]
    folder = cache_folder() / f"{name}-{_digest(module)}"
    if folder.is_dir():
        return folder
    go = shutil.which("go")
    if not go:
        raise ConfigurationError(
            f"The test bed builds {', '.join(module.programs)} with Go, which is not installed",
            expected=f"go on the PATH, or the built programs in {folder}",
            what_to_do="Install Go 1.26 or newer: https://go.dev/doc/install",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(folder.suffix + ".lock")):
        if not folder.is_dir():  # somebody else may have built it while this one waited
            say(f"Building {', '.join(module.programs)} …")
            _build(go, module, folder)
    return folder


def program(module: str) -> Path:
    """The path of the program that has its module's name.

    Raises:
        ConfigurationError: It must be built, and Go is missing.
        RunError: The build failed.
    """
    return built(module) / "bin" / module


def _digest(module: Module) -> str:
    """Say what a build depends on: the pins, our own Go code, what is built from it and how."""
    digest = hashlib.sha256(repr((module.programs, module.manifests, module.variables, _FLAGS)).encode())
    folder = FOLDER / module.name
    for path in sorted(folder.rglob("*")):
        if path.name in {"go.mod", "go.sum"} or (path.suffix == ".go" and not path.name.endswith("_test.go")):
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


_FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")


def _build(go: str, module: Module, folder: Path) -> None:
    source = FOLDER / module.name
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    settings = " ".join(["-s", "-w", *(f"-X {variable}={value}" for variable, value in module.variables.items())])
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        for name, package in module.programs.items():
            target = made / "bin" / name
            _go([go, "build", *_FLAGS, "-ldflags", settings, "-o", str(target), package], source, environment)
        for dependency, globs in module.manifests.items():
            origin = Path(_go([go, "list", "-m", "-f", "{{.Dir}}", dependency], source, environment).strip())
            _copy(origin, globs, made / "manifests" / dependency.rpartition("/")[2])
        made.rename(folder)


def _go(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RunError(
            f"Go cannot build testbed/modules/{folder.name}",
            received="\n".join(finished.stderr.strip().splitlines()[-20:]),
            expected=f"{' '.join(command)} to end with 0 in {folder}",
            what_to_do="See that the Go module proxy is reachable and that Go is new enough for the module's go.mod.",
        )
    return finished.stdout


def _copy(origin: Path, globs: tuple[str, ...], target: Path) -> None:
    for pattern in globs:
        for path in sorted(origin.glob(pattern)):
            copy = target / path.relative_to(origin)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time build a module."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
