"""docs/vertex.md is what the code does."""

import re
from pathlib import Path

import yaml

from stepworks.placement.placement import Placement
from stepworks.placement.target import Target
from stepworks.placement.vertex import BootDisk, Endpoint, VertexSettings
from stepworks.placement.vertex_machines import ACCELERATED_MACHINES, ATTACHED_TO_N1

PAGE = (Path(__file__).parents[4] / "docs" / "vertex.md").read_text()


def test_the_example_is_taken() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    target = Target.model_validate(yaml.safe_load(example))
    assert target.placement("training").vertex
    assert target.endpoint.split == {"0": 10, "5678": 90}
    assert target.claim("checkpoints").path in PAGE


def test_every_field_is_described() -> None:
    fields = [*Placement.model_fields, *VertexSettings.model_fields, *Endpoint.model_fields, *BootDisk.model_fields]
    assert [name for name in fields if not re.search(rf"\b{name}\b", PAGE)] == []


def test_every_machine_with_accelerators_is_in_the_table() -> None:
    rows = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `NVIDIA")}
    for name, machine in ACCELERATED_MACHINES.items():
        assert f"`{name}` ({machine.count})" in rows[machine.accelerator]
    for accelerator, sizes in ATTACHED_TO_N1.items():
        numbers = {int(each) for each in re.findall(r"\d+", rows[accelerator].partition("n1-")[2].partition(":")[2])}
        assert numbers == {*sizes, *sizes.values()}


def test_the_python_of_the_page_is_python() -> None:
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        compile(example, "docs/vertex.md", "exec")
