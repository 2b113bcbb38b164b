"""The parts that sections of a report are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepworks.report.markup import Child, Markup, element, join


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Attributes:
        title: Its heading.
        content: What it says.
        note: One line below the heading; None for no line.
    """

    title: str
    content: Markup
    note: str | None = None

    def markup(self, identifier: str, *notes: str | None, class_: str | None = None) -> Markup:
        """The section in a page.

        Args:
            identifier: The section's id, unique in the page.
            *notes: More lines below the heading; None is left out.
            class_: A class of the style sheet.
        """
        lines = [element("p", note) for note in (self.note, *notes) if note]
        rail = element("div", element("h2", self.title), lines, class_="rail")
        return element("section", rail, element("div", self.content, class_="content"), id=identifier, class_=class_)


def facts(values: Mapping[str, Child]) -> Markup:
    """Names and their values; a value of None is left out."""
    known = {key: value for key, value in values.items() if value is not None}
    pairs = (join(element("dt", key), element("dd", value)) for key, value in known.items())
    return element("dl", pairs, class_="facts")


def figure(plot: Markup, title: str, explanation: str = "") -> Markup:
    """A plot with its caption above it."""
    caption = element("figcaption", element("b", title), f" {explanation}" if explanation else None)
    return element("figure", caption, plot)


def plots(figures: Sequence[Markup]) -> Markup:
    """Two or three figures side by side where the page is wide enough."""
    return element("div", figures, class_=f"plots {'two' if len(figures) == 2 else 'three'}")


def strip(parts: Sequence[tuple[str, float]], *, strong: Sequence[str] = ()) -> Markup:
    """A bar cut into parts in proportion to their values.

    Args:
        parts: The name and value of each part.
        strong: The names of the parts to set off; none sets off the first.
    """
    whole = sum(value for _, value in parts) or 1
    chosen = set(strong) or {name for name, _ in parts[:1]}
    pieces = (
        element(
            "i",
            style=f"flex:{100 * value / whole:.3f}",
            class_="strong" if name in chosen else None,
            title=f"{name}: {100 * value / whole:.0f} %",
        )
        for name, value in parts
    )
    return element("div", pieces, class_="strip", aria_hidden="true")
