"""The snippets about data in docs/training.md run, and do what the page says."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

PAGE = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.partition("\n## Data\n")[2], re.DOTALL)
PARQUET, ORDER = (next(each for each in SNIPPETS if word in each) for word in ("ParquetSamples", "Order("))


def test_columns_become_inputs_and_targets(tmp_path: Path) -> None:
    names: dict[str, Any] = {"Path": Path, "torch": torch}
    exec(PARQUET, names)
    pq.write_table(pa.table({"age": [31, 42], "visits": [1.5, 2.0], "left": [0, 1]}), tmp_path / "people.parquet")
    (features,), targets = names["read_samples"](tmp_path / "people.parquet").take(torch.tensor([1, 0]))
    assert features.tolist() == [[42.0, 2.0], [31.0, 1.5]]
    assert targets.tolist() == [1.0, 0.0]


def test_the_order_is_the_same_each_time_and_shared_out_among_processes() -> None:
    exec(ORDER, {})
