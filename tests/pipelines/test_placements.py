"""A table of what each executor of each compiled pipeline asks for, read from the committed files."""

import json
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


def family(image: str) -> str:
    """The name of an image of ours, wherever its registry is and whatever its tag; another one as it is."""
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return image if name.startswith("google-cloud") else name


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
CHECKED = {"preflight": SMALL._replace(cache=False)}
FLAGSHIP = {
    **CHECKED,
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
    "roll-out-canary": EFFECTS._replace(image="serving", cpu="500m/1", retries=5, timeout="604800"),
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
SHARED = "stepworks-shared:/mnt/shared"
WAITING = SMALL._replace(cpu="500m/1", mounts=SHARED, retries=5, timeout="604800", cache=False)
PREPARED = {name: FLAGSHIP[name] for name in ("ingest-table", "validate-table", "split-table", "transform-table")}
IN_SHARED = {
    "exit-handler-1/make-folder": EFFECTS._replace(mounts=SHARED),
    "clean-up-run": EFFECTS._replace(mounts=SHARED),
}
TUNE = {
    **CHECKED,
    **PREPARED,
    **IN_SHARED,
    "exit-handler-1/tune": WAITING._replace(image="gpu"),
    "exit-handler-1/train": TRAINING._replace(mounts="stepworks-checkpoints:/mnt/checkpoints"),
    "exit-handler-1/evaluate": FLAGSHIP["evaluate"],
}
SCRIPT = {**CHECKED, **PREPARED, **IN_SHARED, "exit-handler-1/train-distributed": WAITING}
FINE_TUNE = {**CHECKED, "train": TUNE["exit-handler-1/train"]}
WAITING_ON_AMD = {"tune": WAITING._replace(image="gpu-rocm")}


def on(target: dict[str, Row], tasks: dict[str, Row]) -> dict[str, Row]:
    """The rows of a pipeline on a target: the training and what runs in the same image are as the flagship's there."""
    changed = {}
    for name, row in tasks.items():
        there = target.get(name.rpartition("/")[2])
        changed[name] = there._replace(mounts=row.mounts) if there else row
    return changed


EXPECTED = {
    ("tabular_train_and_deploy", "a100"): FLAGSHIP,
    ("tabular_train_and_deploy", "amd"): FLAGSHIP | ON_AMD,
    ("tabular_train_and_deploy", "mig"): FLAGSHIP | ON_MIG,
    ("tabular_tune", "a100"): TUNE,
    ("tabular_tune", "amd"): on(ON_AMD | WAITING_ON_AMD, TUNE),
    ("tabular_tune", "mig"): on(ON_MIG, TUNE),
    ("distributed_script", "a100"): SCRIPT,
    ("distributed_script", "amd"): on(ON_AMD | WAITING_ON_AMD, SCRIPT),
    ("language_fine_tune", "a100"): FINE_TUNE,
    ("language_fine_tune", "amd"): on(ON_AMD, FINE_TUNE),
    ("language_fine_tune", "mig"): on(ON_MIG, FINE_TUNE),
}


class VertexRow(NamedTuple):
    """What one executor asks for on Vertex AI, where a step has limits, or a machine of its own."""

    image: str
    cpu: str
    memory: str
    machine: str
    accelerator: str
    disk: str
    timeout: str
    retries: int
    cache: bool


VERTEX_SMALL = VertexRow("cpu", "2", "4Gi", *[""] * 4, retries=2, cache=True)
VERTEX_LARGE = VERTEX_SMALL._replace(cpu="4", memory="16Gi")
GOOGLE = VertexRow("gcr.io/ml-pipeline/google-cloud-pipeline-components:2.22.0", *[""] * 6, retries=0, cache=False)
ON_VERTEX = {
    "ingest-table": VERTEX_LARGE._replace(cache=False),
    "validate-table": VERTEX_SMALL,
    "profile-table": VERTEX_SMALL,
    "split-table": VERTEX_SMALL,
    "transform-table": VERTEX_LARGE,
    "train": VertexRow(
        image="gpu",
        cpu="",
        memory="",
        machine="a2-highgpu-1g",
        accelerator="NVIDIA_TESLA_A100=1",
        disk="pd-ssd=200",
        timeout="86400s",
        retries=5,
        cache=False,
    ),
    "evaluate": VERTEX_LARGE._replace(image="gpu"),
    "compare": VERTEX_SMALL._replace(image="serving", cache=False),
    "gate": VERTEX_SMALL,
    "package-model": VERTEX_LARGE._replace(image="gpu"),
    "check-serving": VERTEX_SMALL._replace(image="serving"),
    "register-model": VERTEX_SMALL._replace(cache=False),
    "locate-artifact": VERTEX_SMALL,
    "model-upload": GOOGLE,
    "endpoint-create": GOOGLE,
    "model-deploy": GOOGLE,
}
EXPECTED_ON_VERTEX = {
    ("tabular_train_and_deploy", "vertex"): ON_VERTEX,
    ("language_fine_tune", "vertex"): {"train": ON_VERTEX["train"]},
}
LARGEST = {"vertex": 50_000}
"""In bytes; MOST for the others. The payloads of Vertex's own steps take the rest."""
MOST = 44_000
"""4,000 of them are the check of the cluster and what it is told of the pipeline's needs."""


def compiled_files() -> dict[tuple[str, str], Path]:
    return {(path.parts[-3], path.stem): path for path in sorted(COMPILED.glob("*/*/*.yaml"))}


def read_rows(path: Path) -> dict[str, Row]:
    """The row of every task of a compiled file that runs a container, those of inner graphs included."""
    specification, platform = yaml.safe_load_all(path.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    rows = {}
    for name, task in _tasks(specification, specification["root"]["dag"], ""):
        executor = specification["components"][task["componentRef"]["name"]]["executorLabel"]
        container = specification["deploymentSpec"]["executors"][executor].get("container")
        if container:  # an importer has none
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
        image=family(container["image"]),
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


def read_vertex_rows(path: Path) -> dict[str, VertexRow]:
    """The row of every task of a file for Vertex AI that runs a container."""
    specification = yaml.safe_load(path.read_text())  # one document
    rows = {}
    for name, task in _tasks(specification, specification["root"]["dag"], ""):
        component = specification["components"][task["componentRef"]["name"]]
        container = specification["deploymentSpec"]["executors"][component["executorLabel"]].get("container")
        if container:
            rows[name] = _vertex_row(container, component, task)
    return rows


def _vertex_row(container: dict[str, Any], component: dict[str, Any], task: dict[str, Any]) -> VertexRow:
    inputs = component.get("inputDefinitions", {}).get("parameters", {})
    pools = inputs.get("worker_pool_specs", {}).get("defaultValue")
    resources, machine, disk = container.get("resources", {}), {}, {}
    if pools:  # a custom job, for which the executor is only what starts it
        (pool,) = pools
        machine, disk, container = (
            pool["machine_spec"],
            pool["disk_spec"],
            {"image": pool["container_spec"]["image_uri"]},
        )
    assert {name for name in resources if name.endswith("Request")} == set()
    return VertexRow(
        image=family(container["image"]),
        cpu=resources.get("resourceCpuLimit", ""),
        memory=resources.get("resourceMemoryLimit", ""),
        machine=machine.get("machine_type", ""),
        accelerator=f"{machine['accelerator_type']}={machine['accelerator_count']:g}" if machine else "",
        disk=f"{disk['boot_disk_type']}={disk['boot_disk_size_gb']:g}" if disk else "",
        timeout=inputs["timeout"]["defaultValue"] if pools else "",
        retries=task.get("retryPolicy", {}).get("maxRetryCount", 0),
        cache=task["cachingOptions"].get("enableCache", False),
    )


def _pairs(values: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def test_every_compiled_file_is_in_the_table() -> None:
    assert set(compiled_files()) == set(EXPECTED) | set(EXPECTED_ON_VERTEX)


def test_every_target_and_every_pipeline_is_in_the_table() -> None:
    targets = {path.stem for path in (COMPILED.parent / "targets").glob("*.yaml")}
    pairs = {(each.name, target) for each in load_pipelines().values() for target in each.targets or targets}
    assert pairs == set(EXPECTED) | set(EXPECTED_ON_VERTEX)


@pytest.mark.parametrize(("pipeline", "target"), EXPECTED)
def test_every_executor_asks_for_what_the_table_says(pipeline: str, target: str) -> None:
    assert read_rows(compiled_files()[pipeline, target]) == EXPECTED[pipeline, target]


@pytest.mark.parametrize(("pipeline", "target"), EXPECTED_ON_VERTEX)
def test_every_executor_on_vertex_asks_for_what_the_table_says(pipeline: str, target: str) -> None:
    assert read_vertex_rows(compiled_files()[pipeline, target]) == EXPECTED_ON_VERTEX[pipeline, target]


def test_nothing_of_kubernetes_is_in_a_file_for_vertex() -> None:
    text = compiled_files()["tabular_train_and_deploy", "vertex"].read_text()
    assert "kubernetes" not in json.dumps(yaml.safe_load(text)).lower()


@pytest.mark.parametrize("path", compiled_files().values(), ids=str)
def test_a_compiled_file_is_small_and_installs_nothing(path: Path) -> None:
    text = path.read_text()
    assert len(text.encode()) <= LARGEST.get(path.stem, MOST)
    assert "pip install" not in text
