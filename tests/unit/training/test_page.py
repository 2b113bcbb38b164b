"""The snippets about data in docs/training.md run, and do what the page says."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from stepworks.training.language_model import read_tokens

PAGE = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
PARQUET, TOKENS, ORDER = re.findall(r"```python\n(.*?)```", PAGE.partition("\n## Data\n")[2], re.DOTALL)[:3]


def test_columns_become_inputs_and_targets(tmp_path: Path) -> None:
    names: dict[str, Any] = {"Path": Path, "torch": torch}
    exec(PARQUET, names)
    pq.write_table(pa.table({"age": [31, 42], "visits": [1.5, 2.0], "left": [0, 1]}), tmp_path / "people.parquet")
    (features,), targets = names["read_samples"](tmp_path / "people.parquet").take(torch.tensor([1, 0]))
    assert features.tolist() == [[42.0, 2.0], [31.0, 1.5]]
    assert targets.tolist() == [1.0, 0.0]


def test_texts_become_token_shards(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra language is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<end>": 0, "a": 1, "b": 2}, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>")
    fast.save_pretrained(tmp_path / "base")
    pq.write_table(pa.table({"question": ["a"] * 400, "answer": ["b a"] * 400}), tmp_path / "texts.parquet")
    places = {"texts": tmp_path / "texts.parquet", "folder": tmp_path / "tokens", "base_model": tmp_path / "base"}
    exec(TOKENS, dict(places))
    (tokens,), _ = read_tokens(tmp_path / "tokens").take(torch.tensor([0]))
    assert tokens.shape == (1, 1024)


def test_the_order_is_the_same_each_time_and_shared_out_among_processes() -> None:
    exec(ORDER, {})
