"""Whatever the bytes: the reader returns IR or raises ConfigurationError."""

import contextlib
import copy
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.ir.read import read_ir
from tests.unit.kubeflow.ir.compiled_shapes import SHAPES, compiled_text

FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["root", "dag", "tasks", "comp-make", "{{$}}", "1", "-1", "2.1.0"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def read(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with contextlib.suppress(ConfigurationError):
        read_ir(path)


@FUZZ
@given(st.binary(max_size=300))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    read(tmp_path / "f.yaml", content)


@FUZZ
@given(st.text("&*!-?:{}[],|>'\"#%@ \n\tab01.<~", max_size=80))
def test_random_yaml(tmp_path: Path, text: str) -> None:
    read(tmp_path / "f.yaml", text.encode())


@FUZZ
@given(st.data())
def test_a_value_anywhere_in_real_ir(tmp_path: Path, data: Any) -> None:
    documents = copy.deepcopy(loaded(data.draw(st.sampled_from(sorted(SHAPES)))))
    for _ in range(data.draw(st.integers(1, 3))):
        replace_somewhere(documents, data.draw(VALUES), random.Random(data.draw(st.integers(0, 10**6))))
    read(tmp_path / "f.yaml", yaml.safe_dump_all(documents).encode())


@FUZZ
@given(st.sampled_from(sorted(SHAPES)), st.integers(0, 10**6), st.binary(max_size=4))
def test_bytes_anywhere_in_real_ir(tmp_path: Path, name: str, at: int, content: bytes) -> None:
    text = compiled_text(name).encode()
    at %= len(text)
    read(tmp_path / "f.yaml", text[:at] + content + text[at + len(content) :])


LOADED: dict[str, Any] = {}


def loaded(name: str) -> Any:
    if name not in LOADED:
        LOADED[name] = list(yaml.safe_load_all(compiled_text(name)))
    return LOADED[name]


def replace_somewhere(value: Any, new: Any, choose: random.Random) -> None:
    """Replace one value of a nested structure."""
    places = []
    stack = [value]
    while stack:
        inner = stack.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        for key in keys:
            places.append((inner, key))
            if isinstance(inner[key], dict | list):
                stack.append(inner[key])
    container, key = choose.choice(places)
    container[key] = new


@pytest.mark.parametrize("name", SHAPES)
def test_every_single_value_replaced_by_another_kind(tmp_path: Path, name: str) -> None:
    for seed in range(12):
        for new in ("x", 1, [], {}, None, [1], {"a": 1}):
            documents = copy.deepcopy(loaded(name))
            replace_somewhere(documents, new, random.Random(seed))
            read(tmp_path / "f.yaml", yaml.dump_all(documents, Dumper=yaml.CSafeDumper).encode())
