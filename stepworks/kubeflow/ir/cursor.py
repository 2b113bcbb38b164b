"""A mapping of the IR with the path that leads to it: typed access whose errors name the line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from stepworks.kubeflow.ir.located import LocatedList, LocatedMap, position_of, refuse
from stepworks.kubeflow.ir.source import JsonPath

_KINDS = {LocatedMap: "a mapping", LocatedList: "a list", str: "a text", bool: "a truth value"}


class Cursor:
    """A mapping of the IR. What is absent reads as empty; what is of another kind is refused."""

    __slots__ = ("_file", "_root", "path", "value")

    def __init__(self, file: Path, root: LocatedMap, value: LocatedMap, path: JsonPath = ()) -> None:
        self._file = file
        self._root = root
        self.value = value
        self.path = path

    def __contains__(self, key: str) -> bool:
        return self.value.get(key) is not None

    def child(self, key: str) -> Cursor:
        """The mapping at a key."""
        return self._cursor(self.value.get(key), key, self.path)

    def children(self, key: str) -> Iterator[tuple[str, Cursor]]:
        """The mappings that the mapping at a key holds, by name."""
        inner = self.child(key)
        for name in inner.value:
            yield name, inner.child(name)

    def items(self, key: str) -> Iterator[Cursor]:
        """The mappings in the list at a key."""
        path = (*self.path, key)
        for index, item in enumerate(self._list(key)):
            yield self._cursor(item, index, path)

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts in the list at a key."""
        values = self._list(key)
        return tuple(self._text(value, (*self.path, key, index)) for index, value in enumerate(values))

    def mapping_of_texts(self, key: str) -> dict[str, str]:
        """The texts in the mapping at a key."""
        inner = self.child(key)
        return {name: inner.text(name) for name in inner.value}

    def text(self, key: str) -> str:
        """The text at a key; a number as it would be written in JSON."""
        value = self.value.get(key)
        return value if isinstance(value, str) else self._text(value, (*self.path, key))

    def number(self, key: str) -> float | None:
        """The number at a key, also when it is written as a text."""
        value = self.value.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            self.refuse(key, "a number")
        try:
            number = float(value)
        except (ValueError, OverflowError):
            self.refuse(key, "a number")
        if not math.isfinite(number):
            self.refuse(key, "a finite number")
        return number

    def integer(self, key: str) -> int | None:
        """The whole number at a key; 2.0 is 2, since protobuf writes numbers so."""
        number = self.number(key)
        if number is not None and not number.is_integer():
            self.refuse(key, "a whole number")
        return None if number is None else int(number)

    def flag(self, key: str) -> bool:
        """The truth value at a key; false when it is absent."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, bool):
            self.refuse(key, "true or false")
        return bool(value)

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Say that what stands at a key is not what was expected there.

        Raises:
            ConfigurationError: Always.
        """
        self._refuse(self.value.get(key), (*self.path, key), expected)

    def _cursor(self, value: Any, key: str | int, above: JsonPath) -> Cursor:
        path = (*above, key)
        if value is None:
            value = LocatedMap()
        if not isinstance(value, LocatedMap):
            self._refuse(value, path, "a mapping")
        return Cursor(self._file, self._root, value, path)

    def _list(self, key: str) -> LocatedList:
        value = self.value.get(key)
        if value is None:
            return LocatedList()
        if not isinstance(value, LocatedList):
            self.refuse(key, "a list")
        return value

    def _text(self, value: Any, path: JsonPath) -> str:
        if value is None:
            return ""
        if isinstance(value, LocatedMap | LocatedList):
            self._refuse(value, path, "a text")
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return value if isinstance(value, str) else _written(value)

    def _refuse(self, value: Any, path: JsonPath, expected: str) -> NoReturn:
        kind = next(
            (name for type_, name in _KINDS.items() if isinstance(value, type_)), f"the number {_written(value):.20}"
        )
        refuse(
            self._file,
            position_of(self._root, path),
            "the IR is not of KFP's schema",
            received=f"{kind} at {'.'.join(map(str, path))}",
            expected=expected,
            do="Compile the pipeline again, or undo the edit of the compiled file.",
        )


def _written(number: float) -> str:
    """A number as a text; one of thousands of digits, which Python refuses to write, in hexadecimal."""
    try:
        return str(number)
    except ValueError:
        return hex(int(number))
