"""The snippets of docs/training.md that need no cluster run, and do what the page says."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from stepworks.training.context import TrainingContext
from stepworks.training.interruption import Interruption, Reason
from stepworks.training.metrics import read_metrics
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace

PAGE = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PARQUET, ORDER, ENTRYPOINT = (
    next(each for each in SNIPPETS if word in each) for word in ("ParquetSamples", "order = Order(", "TrainingContext")
)


def test_columns_become_inputs_and_targets(tmp_path: Path) -> None:
    names: dict[str, Any] = {"Path": Path, "torch": torch}
    exec(PARQUET, names)
    pq.write_table(pa.table({"age": [31, 42], "visits": [1.5, 2.0], "left": [0, 1]}), tmp_path / "people.parquet")
    (features,), targets = names["read_samples"](tmp_path / "people.parquet").take(torch.tensor([1, 0]))
    assert features.tolist() == [[42.0, 2.0], [31.0, 1.5]]
    assert targets.tolist() == [1.0, 0.0]


def test_the_order_is_the_same_each_time_and_shared_out_among_processes() -> None:
    exec(ORDER, {})


@dataclass
class Counting:
    """A state that counts the steps that were taken, and has the run stopped after some."""

    step: int
    workspace: Workspace
    stop_after: int

    def train_one_step(self, rows: Path) -> float:
        assert rows == Path("/rows")
        self.step += 1
        if self.step == self.stop_after:
            self.workspace.stop_file.touch()
        return 1 / self.step

    def write_to(self, folder: Path) -> Path:
        folder.mkdir()
        (folder / "step").write_text(str(self.step))
        return folder

    def export(self, model: Path) -> None:
        model.write_text(str(self.step))


def attempt(workspace: Workspace, stop_after: int) -> Reason:
    """Run the entrypoint of the page once; return why it ended."""
    clock = itertools.count(0, 10)  # so that the file STOP is looked for at each step
    context = TrainingContext(
        TrainingSpec(entrypoint="team.mine:train", inputs={"train": "/rows"}),
        workspace,
        Interruption(30, workspace.stop_file, clock=lambda: next(clock)),
    )
    names: dict[str, Any] = {
        "begin": lambda _rate: Counting(0, workspace, stop_after),
        "load": lambda folder: Counting(int((folder / "step").read_text()), workspace, stop_after),
    }
    exec(ENTRYPOINT, names)
    names["train"](context, rate=0.1)
    return context.stop_reason


def test_a_function_of_ones_own_commits_and_reports_the_steps_that_it_took(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert attempt(workspace, stop_after=205) is Reason.STOP_FILE
    committed = {path.name: (path / "step").read_text() for path in workspace.checkpoints.glob("step-*")}
    assert committed == {"step-00000200": "200", "step-00000205": "205"}
    workspace.stop_file.unlink()
    assert attempt(workspace, stop_after=-1) is Reason.NONE
    assert workspace.model.read_text() == "10000"
    reports = [line for line in read_metrics(workspace.metrics) if line["kind"] == "report"]
    assert [line["step"] for line in reports] == list(range(1, 10_001))
    assert all(line["loss"] == 1 / line["step"] for line in reports)
