"""YAML whose every key and value knows where it stands, read in one pass and within bounds.

PyYAML's constructor forgets positions, and its composer neither bounds what aliases expand to nor tells two equal
keys. So the parser's events are built into plain values here: the C parser does the expensive part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import yaml

from stepworks.errors import ConfigurationError

LARGEST_FILE = 32 * 1024 * 1024
"""Bytes. The KFP API server takes no larger upload."""

MOST_VALUES = 1_000_000
"""Keys and values of a file with its aliases written out; 5,000 tasks have about 300,000."""

MOST_CHARACTERS = 4 * LARGEST_FILE
"""Characters of all texts of a file with its aliases written out."""

DEEPEST = 200
"""Collections inside one another. IR with five nested pipelines reaches about 20."""

Position: TypeAlias = tuple[int, int]
"""Line and column, both from 1."""

_START: Position = (1, 1)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")} | {"!"}
_CONSTRUCTOR = yaml.constructor.SafeConstructor()


class LocatedMap(dict[str, Any]):
    """A mapping, and where its keys and values stand."""

    __slots__ = ("key_positions", "positions")

    def __init__(self) -> None:
        super().__init__()
        self.key_positions: dict[str, Position] = {}
        self.positions: dict[str, Position] = {}


class LocatedList(list[Any]):
    """A list, and where its items stand."""

    __slots__ = ("positions",)

    def __init__(self) -> None:
        super().__init__()
        self.positions: list[Position] = []


@dataclass(frozen=True)
class Document:
    """One document of a YAML file: its value, and where it starts."""

    value: Any
    position: Position


def refuse(path: Path, position: Position | None, problem: str, *, received: str, expected: str, do: str) -> NoReturn:
    """Raise a ConfigurationError that names the file and, where it is known, the line and column.

    Raises:
        ConfigurationError: Always.
    """
    where = f"{path}:{position[0]}:{position[1]}" if position else str(path)
    raise ConfigurationError(f"{where}: {problem}", received=received, expected=expected, what_to_do=do)


def read_text(path: Path) -> str:
    """Read a file of at most LARGEST_FILE bytes.

    Raises:
        ConfigurationError: It cannot be read, is larger, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        refuse(
            path,
            None,
            "the file cannot be read",
            received=error.strerror or str(error),
            expected="a compiled pipeline in YAML",
            do="Correct the path, or the permission.",
        )
    if len(content) > LARGEST_FILE:
        refuse(
            path,
            None,
            "the file is too large",
            received=f"more than {LARGEST_FILE:,} bytes",
            expected=f"at most {LARGEST_FILE:,} bytes, which is what the KFP API server takes",
            do="Give the compiled pipeline. What it carries as data belongs into an artifact.",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        position = (before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        refuse(
            path,
            position,
            "the file is not UTF-8 text",
            received=f"the byte 0x{content[error.start]:02x}",
            expected="YAML in UTF-8",
            do="Give the file that was compiled, not an archive or an image.",
        )


def parse_documents(text: str, path: Path) -> list[Document]:
    """Parse YAML into plain values: mappings with text keys, lists, text, numbers, booleans and None.

    Args:
        text: The YAML.
        path: The file that messages name.

    Raises:
        ConfigurationError: It is not YAML, a key stands twice, or a bound of this module is passed.
    """
    loader = None
    try:
        loader = _LOADER(text)
        return list(_Builder(loader, path).documents())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else None
        _refuse_yaml(path, position, error.problem or error.context or "unreadable")
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="ignore")  # the C parser counts bytes
        _refuse_yaml(path, (before.count("\n") + 1, len(before) - before.rfind("\n")), error.reason)
    finally:
        if loader is not None:
            loader.dispose()


def _refuse_yaml(path: Path, position: Position | None, problem: str) -> NoReturn:
    refuse(
        path,
        position,
        "the file is not YAML",
        received=problem,
        expected="the YAML that `stepworks compile` or `kfp dsl compile` writes",
        do="Compile the pipeline again, or undo the last edit.",
    )


class _Builder:
    """Builds values from the events of a parser, and counts what they amount to."""

    def __init__(self, loader: Any, path: Path) -> None:
        self._next = loader.get_event
        self._check = loader.check_event
        self._resolve = loader.resolve
        self._path = path
        self._values = 0
        self._characters = 0
        self._anchors: dict[str, tuple[Any, int, int]] = {}

    def documents(self) -> Iterator[Document]:
        self._next()  # the start of the stream
        while not self._check(yaml.StreamEndEvent):
            self._next()  # the start of the document
            self._anchors.clear()
            event = self._next()
            yield Document(self._build(event, 0), _position(event))
            self._next()  # the end of the document

    def _build(self, event: Any, depth: int) -> Any:
        if type(event) is yaml.ScalarEvent:
            return self._scalar(event)
        if type(event) is yaml.AliasEvent:
            return self._alias(event)
        if depth == DEEPEST:
            self._refuse(event, "the file is nested too deeply", f"more than {DEEPEST} levels", f"at most {DEEPEST}")
        values, characters = self._values, self._characters
        self._count(event, 1, 0)
        self._require_core_tag(event)
        # An anchor is known only when its collection is complete: one that holds itself is told as unknown.
        built = self._mapping(depth) if type(event) is yaml.MappingStartEvent else self._sequence(depth)
        if event.anchor:
            self._anchors[event.anchor] = (built, self._values - values, self._characters - characters)
        return built

    def _mapping(self, depth: int) -> LocatedMap:
        built = LocatedMap()
        while type(key_event := self._next()) is not yaml.MappingEndEvent:
            key = self._key(key_event)
            if key in built:
                line, column = built.key_positions[key]
                self._refuse(
                    key_event,
                    "a key stands twice in one mapping",
                    f"{key!r}, first in line {line}, column {column}",
                    "each key once",
                )
            event = self._next()
            built.key_positions[key] = _position(key_event)
            built.positions[key] = _position(event)
            built[key] = self._build(event, depth + 1)
        return built

    def _sequence(self, depth: int) -> LocatedList:
        built = LocatedList()
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            built.positions.append(_position(event))
            built.append(self._build(event, depth + 1))
        return built

    def _key(self, event: Any) -> str:
        """A key as it is written: IR is JSON to its readers, so that `1:` and `yes:` are texts."""
        key = self._alias(event) if type(event) is yaml.AliasEvent else None
        if type(event) is yaml.ScalarEvent:
            self._count(event, 1, len(event.value))
            key = event.value
            if key == "<<" and not event.style:
                self._refuse(event, "the file merges mappings", "<<", "each mapping written out, as compilers do")
        if not isinstance(key, str):
            self._refuse(event, "a key is not a text", type(event).__name__.removesuffix("Event"), "a text")
        return key

    def _scalar(self, event: Any) -> Any:
        self._count(event, 1, len(event.value))
        value = self._scalar_value(event)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1, len(event.value))
        return value

    def _scalar_value(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is None and not event.implicit[0]:
            return text  # quoted, or a block
        self._require_core_tag(event)
        tag = event.tag or self._resolve(yaml.ScalarNode, text, event.implicit)
        name = tag.rpartition(":")[2]
        if name not in {"int", "float", "bool", "null"}:
            return text  # a date too: the bare day of a default is a text to KFP
        try:
            return getattr(_CONSTRUCTOR, f"construct_yaml_{name}")(yaml.ScalarNode(tag, text))
        except (ValueError, KeyError, IndexError, OverflowError):
            self._refuse(event, "a value is not of its type", repr(text[:40]), f"a YAML {name}")

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            self._refuse(
                event,
                "an alias names no complete anchor before it",
                f"*{event.anchor}",
                "an anchor that stands before its alias and does not hold it",
            )
        value, values, characters = self._anchors[event.anchor]
        self._count(event, values, characters)
        return value

    def _require_core_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _CORE_TAGS:
            self._refuse(event, "a tag is not of plain YAML", event.tag, "texts, numbers, booleans, lists and mappings")

    def _count(self, event: Any, values: int, characters: int) -> None:
        self._values += values
        self._characters += characters
        if self._values > MOST_VALUES or self._characters > MOST_CHARACTERS:
            self._refuse(
                event,
                "the file holds too much",
                f"more than {MOST_VALUES:,} values or {MOST_CHARACTERS:,} characters, aliases written out",
                "a compiled pipeline",
            )

    def _refuse(self, event: Any, problem: str, received: str, expected: str) -> NoReturn:
        do = "Compile the pipeline again, or correct the line."
        refuse(self._path, _position(event), problem, received=received, expected=expected, do=do)


def _position(event: Any) -> Position:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1)


def position_of(value: Any, path: Sequence[str | int]) -> Position:
    """Where what a path of keys and indices leads to stands; a missing part gives the position of its parent.

    A single value is told where it stands, a mapping or a list at its key: where an editor should jump to.
    """
    position = _START
    for part in path:
        if isinstance(value, LocatedMap) and part in value:
            key = str(part)
            inner = value[key]
            held = isinstance(inner, LocatedMap | LocatedList)
            position, value = (value.key_positions if held else value.positions)[key], inner
        elif isinstance(value, LocatedList) and isinstance(part, int) and part < len(value):
            position, value = value.positions[part], value[part]
        else:
            break
    return position
