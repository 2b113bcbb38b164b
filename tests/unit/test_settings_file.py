"""Files that people write, whatever is in them: a value, or a message with file and line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from stepworks.errors import ConfigurationError, NotFoundError, StepworksError
from stepworks.kubeflow.delivery.environment import Environment
from stepworks.kubeflow.release import ReleaseIndex
from stepworks.placement.target import Target
from stepworks.settings_file import LARGEST_FILE, Setting, read_settings

ROOT = Path(__file__).parents[2]
TARGET = (ROOT / "targets" / "a100.yaml").read_text()
ENVIRONMENT = (ROOT / "environments" / "dev.yaml").read_text()


class Room(Setting):
    """A small file."""

    width: int
    windows: list[int] = Field(default_factory=list)
    notes: Any = None


def read(path: Path) -> Room:
    return read_settings(path, Room, "room file", "docs/rooms.md")


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "room.yaml"
    path.write_text("width: 3\nwindows: [1, 2]\n")
    assert read(path) == Room(width=3, windows=[1, 2])


BOMB = "width: 3\nnotes:\n  - &a0 [x, x]\n" + "".join(f"  - &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
"""Two to the power of sixty values in two kilobytes."""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("width: 3\nwidht: 4\n", "room.yaml:2: widht: there is no field widht; did you mean width?"),
        ("width: wide\n", "room.yaml:1: width"),
        ("width: 3\nwindows:\n  - 1\n  - open\n", "room.yaml:4: windows.1"),
        ("width: 3\nwidth: 4\n", "room.yaml:2: the key 'width' comes twice"),
        ("width: [\n", "is not YAML"),
        ("- width\n", "room.yaml:1: the file"),
        ("", "the file"),
        ("width: !!python/object/apply:os.system [ls]\n", "is not YAML"),
        ("a: &a [*a]\n", "room.yaml"),
        (BOMB, "more than"),
        ("width: 3\nnotes: &a [*a, *a]\n", "recursive"),
        ("x" * (LARGEST_FILE + 1), "bytes"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "room.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as error:
        read(path)
    assert told in str(error.value)


def test_what_is_no_text_or_no_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "room.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is not YAML"):
        read(path)
    with pytest.raises(NotFoundError):
        read(tmp_path / "absent.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(tmp_path)


def error_of(reader: Callable[[Path], Any], path: Path) -> StepworksError | None:
    """What a reader raises of ours; anything else is raised."""
    try:
        reader(path)
    except StepworksError as error:
        return error
    return None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """A good file in which one value, at any depth, is another; or with some of its characters gone."""
    if draw(st.booleans()):
        begin = draw(st.integers(0, len(text)))
        return text[:begin] + draw(st.text(max_size=5)) + text[begin + draw(st.integers(0, 30)) :]
    content = yaml.safe_load(text)
    node: Any = content
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and node[key] and draw(st.booleans()):
            node = node[key]
            continue
        node[key] = draw(VALUES)
        return str(yaml.safe_dump(content, allow_unicode=True))


READERS: list[tuple[str, Callable[[Path], Any], str]] = [
    ("a100.yaml", Target.read, TARGET),
    ("dev.yaml", Environment.read, ENVIRONMENT),
]


@pytest.mark.parametrize(("name", "reader", "text"), READERS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_gives_a_value_or_our_message(
    tmp_path: Path, name: str, reader: Callable[[Path], Any], text: str, data: st.DataObject
) -> None:
    path = tmp_path / name
    path.write_bytes(data.draw(damaged(text) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))).encode())
    error = error_of(reader, path)
    assert error is None or (name in str(error) and error.exit_code == 2)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=60) | VALUES.map(lambda value: str(value).encode("utf-8", "replace")))
def test_a_damaged_index_gives_a_value_or_our_message(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "index.json").write_bytes(raw)
    error = error_of(ReleaseIndex.read, tmp_path)
    assert error is None or error.exit_code == 2
