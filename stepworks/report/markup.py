"""Building HTML from parts: what is not marked as markup is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is markup already, and is put into a page as it is."""

    __slots__ = ()


Child = str | None


def element(name: str, /, *children: Child | Iterable[Child], **attributes: Attribute) -> Markup:
    """One element of HTML or SVG.

    Args:
        name: The element's name.
        *children: What it holds; plain text is escaped, None is left out.
        **attributes: Its attributes, escaped. `class_` stands for `class`, an underscore elsewhere for a hyphen;
            None and False leave an attribute out, True gives it no value.
    """
    written = "".join(
        f" {_attribute_name(key)}" if value is True else f' {_attribute_name(key)}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    content = join(*children)
    if not content and name in _EMPTY:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{content}</{name}>")


def join(*children: Child | Iterable[Child]) -> Markup:
    """Parts one after another; plain text is escaped, None is left out."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child))
        else:
            parts.append(join(*child))
    return Markup("".join(parts))


def table(
    head: Iterable[Child],
    rows: Iterable[Iterable[Child]],
    *,
    numbers: Iterable[int] = (),
    label: str = "",
    class_: str | None = None,
) -> Markup:
    """A table that scrolls in itself where a screen is too narrow for it.

    Args:
        head: The columns' headings.
        rows: The cells of each row.
        numbers: Positions of the columns that hold numbers, which are set flush right.
        label: What the table shows, for those who cannot see it.
        class_: A class of the style sheet.
    """
    right = set(numbers)

    def cells(name: str, row: Iterable[Child]) -> list[Markup]:
        return [
            element(name, cell, class_="number" if position in right else None, scope="col" if name == "th" else None)
            for position, cell in enumerate(row)
        ]

    body = [element("tr", cells("td", row)) for row in rows]
    content = element(
        "table", element("thead", element("tr", cells("th", head))), element("tbody", body), class_=class_
    )
    return element("div", content, class_="scroll", role="region", tabindex=0, aria_label=label or None)


_EMPTY = frozenset({"meta", "br", "hr"})
"""The elements of HTML without an end."""


def _attribute_name(key: str) -> str:
    return key.rstrip("_").replace("_", "-") if key != "viewBox" else key


def _plain(value: str | float) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
