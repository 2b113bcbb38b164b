from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.placement.accelerators import Accelerator
from stepworks.placement.placement import Placement
from stepworks.placement.quantity import parse_cpu, parse_memory
from stepworks.placement.resources import CpuRange, MemoryRange
from stepworks.placement.scheduling import Retry, Toleration
from stepworks.placement.storage import Mount
from stepworks.placement.target import Target, read_targets

CPU_AND_MEMORY: dict[str, Any] = {
    "cpu": {"request": "1", "limit": "2"},
    "memory": {"request": "1Gi", "limit": "2Gi"},
}
GPU = {"resource": "nvidia.com/gpu", "count": 1}


@pytest.mark.parametrize(("text", "cores"), [("2", "2"), ("500m", "0.5"), ("1.5", "1.5"), ("0", "0")])
def test_cpu_in_cores(text: str, cores: str) -> None:
    assert parse_cpu(text) == Decimal(cores)


@pytest.mark.parametrize(
    ("text", "size"), [("4Gi", 4 * 1024**3), ("500M", 500 * 1000**2), ("1Ki", 1024), ("7", 7), ("2E", 2 * 1000**6)]
)
def test_memory_in_bytes(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "2 cores", "-1", "1.5mm", "\u0661"])
def test_no_cpu_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="CPU quantity"):
        parse_cpu(text)


@pytest.mark.parametrize("text", ["", "1.5Gi", "500k", "4GB", "-1Gi", "Gi"])
def test_no_memory_quantity_of_kfp(text: str) -> None:
    with pytest.raises(ValueError, match="memory quantity"):
        parse_memory(text)


@given(st.integers(min_value=0, max_value=10**6))
def test_a_thousand_millis_are_a_core(cores: int) -> None:
    assert parse_cpu(f"{cores * 1000}m") == parse_cpu(str(cores))


def test_a_placement_is_frozen() -> None:
    placement = Placement(**CPU_AND_MEMORY)
    with pytest.raises(ValidationError):
        placement.cache = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CpuRange(request="2", limit="1"), "above the limit"),
        (lambda: MemoryRange(request="2Gi", limit="1Gi"), "above the limit"),
        (lambda: MemoryRange(request="1.5Gi", limit="2Gi"), "memory quantity"),
        (lambda: Accelerator(resource="gpu", count=1), "resource"),
        (lambda: Accelerator(resource="nvidia.com/gpu", count=0), "count"),
        (lambda: Toleration(key="gpu", operator="Exists", value="true"), "has no value"),
        (lambda: Toleration(key="gpu"), "needs a value"),
        (lambda: Retry(count=0), "count"),
        (lambda: Mount(claim="Data", mount_path="/mnt", access_mode="ReadWriteMany"), "claim"),
        (lambda: Mount(claim="data", mount_path="mnt", access_mode="ReadWriteMany"), "mount_path"),
        (lambda: Mount(claim="data", mount_path="/mnt", access_mode="ReadOnlyMany"), "read_only must be true"),
        (lambda: Mount(claim="data", mount_path="/mnt", access_mode="ReadWriteOnce", sub_path="/x"), "sub_path"),
        (lambda: Placement(**CPU_AND_MEMORY, accelerator=GPU), "needs a node_selector"),
        (lambda: Placement(**CPU_AND_MEMORY, node_selector={"gpu type": "x"}), "no key of a label"),
        (lambda: Placement(**CPU_AND_MEMORY, tolerance=[]), "tolerance"),
    ],
)
def test_a_wrong_field_is_told_when_it_is_built(build: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build()


def target_file(folder: Path, text: str, name: str = "small") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


SMALL = """
name: small
images: {cpu: example/cpu:1}
placements:
  cpu-small:
    cpu: {request: "1", limit: "2"}
    memory: {request: 1Gi, limit: 2Gi}
roles: {small: cpu-small}
"""


def test_a_target_gives_what_it_names(tmp_path: Path) -> None:
    target = Target.read(target_file(tmp_path, SMALL))
    assert target.image("cpu") == "example/cpu:1"
    assert target.placement("small").cpu.limit == "2"


def test_the_shipped_targets_are_right() -> None:
    targets = read_targets(Path(__file__).parents[3] / "targets")
    training = targets["a100"].placement("training")
    assert training.accelerator == Accelerator(resource="nvidia.com/gpu", count=1)
    assert training.node_selector == {"gpu-type": "a100-80gb"}
    assert {toleration.key for toleration in training.tolerations} == {"gpu", "nvidia.com/gpu"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not YAML"),
        ("just text", "is wrong"),
        (SMALL.replace("cpu-small}", "gpu}"), "names the placement gpu"),
        (SMALL.replace("name: small", "name: other"), "another name"),
        (SMALL + "nodes: 3\n", "nodes"),
        (SMALL.replace('limit: "2"', 'limit: "0.5"'), "placements.cpu-small.cpu"),
    ],
)
def test_a_wrong_target_file_names_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        Target.read(target_file(tmp_path, text))
    assert "small.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda target: target.image("gpu"), "one of cpu"),
        (lambda target: target.placement("training"), "one of small"),
        (lambda target: target.claim("checkpoints"), "one of none"),
    ],
)
def test_what_a_target_lacks_is_told_with_what_it_has(tmp_path: Path, ask: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        ask(Target.read(target_file(tmp_path, SMALL)))


def test_no_target_at_all(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no target"):
        read_targets(tmp_path)
    with pytest.raises(NotFoundError, match=r"absent\.yaml"):
        Target.read(tmp_path / "absent.yaml")
