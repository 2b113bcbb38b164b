"""A table of what each executor of each compiled pipeline asks for, read from the committed files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from stepworks.kubeflow.pipeline import load_pipelines

COMPILED = Path(__file__).parents[2] / "compiled"


class Row(NamedTuple):
    """What one executor asks for. Quantities as request/limit."""

    image: str
    cpu: str
    memory: str
    accelerator: str
    selector: str
    affinity: str
    tolerations: str
    mounts: str
    shared_memory: str
    labels: str
    annotations: str
    secrets: str
    variables: str
    retries: int
    timeout: str
    cache: bool


SMALL = Row("cpu", "1/2", "2Gi/4Gi", *[""] * 10, retries=2, timeout="3600", cache=True)
LARGE = SMALL._replace(cpu="2/4", memory="8Gi/16Gi", timeout="7200")
EFFECTS = SMALL._replace(cache=False, mounts="stepworks-registry:/mnt/registry")
TRAINING = Row(
    image="gpu",
    cpu="8/8",
    memory="64Gi/64Gi",
    accelerator="nvidia.com/gpu=1",
    selector="gpu-type=a100-80gb",
    affinity="",
    tolerations="gpu=true:NoSchedule nvidia.com/gpu:NoSchedule",
    mounts="stepworks-checkpoints:/mnt/checkpoints stepworks-datasets:/mnt/datasets",
    shared_memory="16Gi",
    labels="",
    annotations="sidecar.istio.io/inject=false",
    secrets="",
    variables="",
    retries=5,
    timeout="86400",
    cache=False,
)
FLAGSHIP = {
    # Files on a claim may change under the same path.
    "ingest-table": LARGE._replace(mounts="stepworks-datasets:/mnt/datasets", cache=False),
    "validate-table": SMALL,
    "profile-table": SMALL,
    "split-table": SMALL,
    "transform-table": LARGE,
    "train": TRAINING,
    "evaluate": LARGE._replace(image="gpu"),
    # Compares with the champion, which another run may have replaced meanwhile: never taken from the cache.
    "compare": EFFECTS._replace(image="serving"),
    "gate": SMALL,
    "package-model": LARGE._replace(image="gpu"),
    "check-serving": SMALL._replace(image="serving"),
    "register-model": EFFECTS,
    "deploy": EFFECTS._replace(image="serving"),
    "roll-out-canary": EFFECTS._replace(image="serving"),
}
ON_MIG = {
    "train": TRAINING._replace(
        cpu="2/2",
        memory="16Gi/16Gi",
        accelerator="nvidia.com/mig-1g.10gb=1",
        selector="gpu-type=a100-80gb-mig",
        shared_memory="2Gi",
    )
}
ON_AMD = {
    "train": TRAINING._replace(
        image="gpu-rocm",
        cpu="12/12",
        memory="128Gi/128Gi",
        accelerator="amd.com/gpu=1",
        selector="gpu-type=mi300x-192gb",
        tolerations="gpu=true:NoSchedule amd.com/gpu:NoSchedule",
        shared_memory="32Gi",
    ),
    "evaluate": FLAGSHIP["evaluate"]._replace(image="gpu-rocm"),
    "package-model": FLAGSHIP["package-model"]._replace(image="gpu-rocm"),
}
EXPECTED = {
    ("tabular_train_and_deploy", "a100"): FLAGSHIP,
    ("tabular_train_and_deploy", "amd"): FLAGSHIP | ON_AMD,
    ("tabular_train_and_deploy", "mig"): FLAGSHIP | ON_MIG,
}


def compiled_files() -> dict[tuple[str, str], Path]:
    return {(path.parts[-3], path.stem): path for path in sorted(COMPILED.glob("*/*/*.yaml"))}


def read_rows(path: Path) -> dict[str, Row]:
    """The row of every task of a compiled file that runs a container, those of inner graphs included."""
    specification, platform = yaml.safe_load_all(path.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    rows = {}
    for name, task in _tasks(specification, specification["root"]["dag"], ""):
        executor = specification["components"][task["componentRef"]["name"]]["executorLabel"]
        container = specification["deploymentSpec"]["executors"][executor]["container"]
        rows[name] = _row(container, task, executors.get(executor, {}))
    return rows


def _tasks(specification: dict[str, Any], dag: dict[str, Any], outer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, task in dag["tasks"].items():
        component = specification["components"][task["componentRef"]["name"]]
        if "dag" in component:
            yield from _tasks(specification, component["dag"], f"{outer}{name}/")
        else:
            yield f"{outer}{name}", task


def _row(container: dict[str, Any], task: dict[str, Any], platform: dict[str, Any]) -> Row:
    resources = container["resources"]
    accelerator = resources.get("accelerator", {})
    metadata = platform.get("podMetadata", {})
    sources = [each for kind, values in platform.items() if kind.startswith(("secret", "configMap")) for each in values]
    return Row(
        image=container["image"].removeprefix("registry.example.com/stepworks/").removesuffix(":0.1.0"),
        cpu=f"{resources['resourceCpuRequest']}/{resources['resourceCpuLimit']}",
        memory=f"{resources['resourceMemoryRequest']}/{resources['resourceMemoryLimit']}",
        accelerator=f"{accelerator['resourceType']}={accelerator['resourceCount']}" if accelerator else "",
        selector=_pairs(platform.get("nodeSelector", {}).get("labels", {})),
        affinity=" ".join(map(str, platform.get("nodeAffinity", []))),
        tolerations=" ".join(
            f"{each['key']}{'=' + each['value'] if 'value' in each else ''}:{each['effect']}"
            for each in platform.get("tolerations", [])
        ),
        mounts=" ".join(f"{each['constant']}:{each['mountPath']}" for each in platform.get("pvcMount", [])),
        shared_memory=" ".join(
            each["sizeLimit"] for each in platform.get("emptyDirMounts", []) if each["mountPath"] == "/dev/shm"
        ),
        labels=_pairs(metadata.get("labels", {})),
        annotations=_pairs(metadata.get("annotations", {})),
        secrets=" ".join(map(str, sources)),
        variables=_pairs({each["name"]: each["value"] for each in container.get("env", [])}),
        retries=task.get("retryPolicy", {}).get("maxRetryCount", 0),
        timeout=platform.get("activeDeadlineSeconds", ""),
        cache=task["cachingOptions"].get("enableCache", False),
    )


def _pairs(values: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def test_every_compiled_file_is_in_the_table() -> None:
    assert set(compiled_files()) == set(EXPECTED)


def test_every_target_and_every_pipeline_is_in_the_table() -> None:
    targets = {path.stem for path in (COMPILED.parent / "targets").glob("*.yaml")}
    assert {(pipeline, target) for pipeline in load_pipelines() for target in targets} == set(EXPECTED)


@pytest.mark.parametrize(("pipeline", "target"), EXPECTED)
def test_every_executor_asks_for_what_the_table_says(pipeline: str, target: str) -> None:
    assert read_rows(compiled_files()[pipeline, target]) == EXPECTED[pipeline, target]


@pytest.mark.parametrize("path", compiled_files().values(), ids=str)
def test_a_compiled_file_is_small_and_installs_nothing(path: Path) -> None:
    text = path.read_text()
    assert len(text.encode()) <= 40_000
    assert "pip install" not in text
