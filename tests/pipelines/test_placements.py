"""A table of what each executor of each compiled pipeline asks for, read from the committed files."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

COMPILED = Path(__file__).parents[2] / "compiled"


class Row(NamedTuple):
    """What one executor asks for. Quantities as request/limit."""

    image: str
    cpu: str
    memory: str
    accelerator: str
    selector: str
    tolerations: str
    mounts: str
    retries: int
    timeout: str
    cache: bool


SMALL = Row("cpu", "1/2", "2Gi/4Gi", "", "", "", "", 2, "3600", cache=True)
LARGE = SMALL._replace(cpu="2/4", memory="8Gi/16Gi", timeout="7200")
EFFECTS = SMALL._replace(cache=False, mounts="stepworks-registry:/mnt/registry")
EXPECTED = {
    ("tabular_train_and_deploy", "a100"): {
        # Files on a claim may change under the same path.
        "ingest-table": LARGE._replace(mounts="stepworks-datasets:/mnt/datasets", cache=False),
        "validate-table": SMALL,
        "profile-table": SMALL,
        "split-table": SMALL,
        "transform-table": LARGE,
        "train": Row(
            image="gpu",
            cpu="8/8",
            memory="64Gi/64Gi",
            accelerator="nvidia.com/gpu=1",
            selector="gpu-type=a100-80gb",
            tolerations="gpu=true:NoSchedule nvidia.com/gpu:NoSchedule",
            mounts="stepworks-checkpoints:/mnt/checkpoints stepworks-datasets:/mnt/datasets",
            retries=5,
            timeout="86400",
            cache=False,
        ),
        "evaluate": LARGE._replace(image="gpu"),
        # Compares with the champion, which another run may have replaced meanwhile: never taken from the cache.
        "compare": EFFECTS._replace(image="serving"),
        "gate": SMALL,
        "package-model": LARGE._replace(image="gpu"),
        "check-serving": SMALL._replace(image="serving"),
        "register-model": EFFECTS,
        "deploy": EFFECTS._replace(image="serving"),
        "roll-out-canary": EFFECTS._replace(image="serving"),
    },
}


def compiled_files() -> dict[tuple[str, str], Path]:
    return {(path.parts[-3], path.stem): path for path in sorted(COMPILED.glob("*/*/*.yaml"))}


def read_rows(path: Path) -> dict[str, Row]:
    specification, platform = yaml.safe_load_all(path.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    rows = {}
    for name, task in specification["root"]["dag"]["tasks"].items():
        executor = specification["components"][task["componentRef"]["name"]]["executorLabel"]
        container = specification["deploymentSpec"]["executors"][executor]["container"]
        rows[name] = _row(container, task, executors.get(executor, {}))
    return rows


def _row(container: dict[str, Any], task: dict[str, Any], platform: dict[str, Any]) -> Row:
    resources = container["resources"]
    accelerator = resources.get("accelerator", {})
    return Row(
        image=container["image"].removeprefix("registry.example.com/stepworks/").removesuffix(":0.1.0"),
        cpu=f"{resources['resourceCpuRequest']}/{resources['resourceCpuLimit']}",
        memory=f"{resources['resourceMemoryRequest']}/{resources['resourceMemoryLimit']}",
        accelerator=f"{accelerator['resourceType']}={accelerator['resourceCount']}" if accelerator else "",
        selector=" ".join(f"{k}={v}" for k, v in platform.get("nodeSelector", {}).get("labels", {}).items()),
        tolerations=" ".join(
            f"{each['key']}{'=' + each['value'] if 'value' in each else ''}:{each['effect']}"
            for each in platform.get("tolerations", [])
        ),
        mounts=" ".join(f"{each['constant']}:{each['mountPath']}" for each in platform.get("pvcMount", [])),
        retries=task.get("retryPolicy", {}).get("maxRetryCount", 0),
        timeout=platform.get("activeDeadlineSeconds", ""),
        cache=task["cachingOptions"].get("enableCache", False),
    )


def test_every_compiled_file_is_in_the_table() -> None:
    assert set(compiled_files()) == set(EXPECTED)


@pytest.mark.parametrize(("pipeline", "target"), EXPECTED)
def test_every_executor_asks_for_what_the_table_says(pipeline: str, target: str) -> None:
    assert read_rows(compiled_files()[pipeline, target]) == EXPECTED[pipeline, target]


@pytest.mark.parametrize("path", compiled_files().values(), ids=str)
def test_a_compiled_file_is_small_and_installs_nothing(path: Path) -> None:
    text = path.read_text()
    assert len(text.encode()) <= 40_000
    assert "pip install" not in text
