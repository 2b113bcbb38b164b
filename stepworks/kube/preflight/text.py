"""What a pre-flight check found, for a terminal or a log."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from stepworks.kube.preflight.report import Check, Preflight, State

_WORST_FIRST = tuple(reversed(State))
_INDENT = "    "


def text_of(preflight: Preflight, *, width: int = 120) -> str:
    """Write the checks as a table, the worst first, and the summary below it.

    Args:
        preflight: What was found.
        width: The most characters of a line.
    """
    return "\n".join([*_lines(preflight, width), "", preflight.summary])


def missing_text(preflight: Preflight) -> str:
    """Write what is missing, a line each."""
    return "\n".join(f"{_INDENT}{check.topic}: {check.subject}: {check.told}" for check in preflight.of(State.MISSING))


def _lines(preflight: Preflight, width: int) -> Iterator[str]:
    for state in _WORST_FIRST:
        found = preflight.of(state)
        if found:
            yield from ("", state.value.upper())
        for check in found:
            yield from _of_check(check, width)


def _of_check(check: Check, width: int) -> Iterator[str]:
    head = f"  {check.topic:<16}{check.subject}: "
    yield from _wrapped(head + check.told, width)
    if check.what_to_do:
        yield from _wrapped(f"{'':<18}→ {check.what_to_do}", width)


def _wrapped(text: str, width: int) -> list[str]:
    # A refusal of the API server may have lines of its own, as a rule that is to be copied.
    first, *others = text.splitlines() or [""]
    indent = " " * 20
    wrapped = textwrap.wrap(
        first, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    return [*wrapped, *(indent + line for line in others)]
