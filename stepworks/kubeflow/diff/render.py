"""A difference as text, as Markdown for a pull request, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from stepworks.kubeflow.diff.change import TOPICS, Change, Difference

_LONGEST = 120
"""Characters of a value that are shown."""

_MOST_TASKS = 4
"""Tasks that are named; of more, the number is told."""


@dataclass(frozen=True)
class FileDifference:
    """What changed between two files.

    Attributes:
        name: What is compared: `tabular_train_and_deploy, target a100`.
        before: The earlier file; None for a pipeline or target that is new.
        after: The later file; None for one that is gone.
        difference: What changed; None where there is only one file.
        version: The version of the later file, where its path tells it.
        version_due: The version that the changes ask for, where the earlier one is known.
    """

    name: str
    before: str | None
    after: str | None
    difference: Difference | None
    version: str | None = None
    version_due: str | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        """What changed."""
        return self.difference.changes if self.difference else ()


def in_one_line(difference: Difference) -> str:
    """The first changes, for a message."""
    told = [_sentence(change) for change in difference.changes[:3]]
    more = len(difference.changes) - len(told)
    return "; ".join([*told, *([f"and {more} more"] if more else [])]) or "other bytes with the same meaning"


def to_json(files: Sequence[FileDifference]) -> str:
    """All that is known, for other programs: a list with an object a file."""
    content = [
        {
            "name": each.name,
            "before": each.before,
            "after": each.after,
            "due": each.difference.due if each.difference else None,
            "version": each.version,
            "version_due": each.version_due,
            "changes": [asdict(change) for change in each.changes],
        }
        for each in files
    ]
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def to_text(files: Sequence[FileDifference]) -> str:
    """For a terminal."""
    return "\n".join(_text_of(each) for each in files) if files else "No compiled pipeline differs.\n"


def _text_of(file: FileDifference) -> str:
    lines = [file.name, f"  {_summary(file)}"]
    for topic, changes in groupby(file.changes, key=lambda change: change.topic):
        lines += ["", f"  {TOPICS[topic]}"]
        lines += [f"    {_marker(change)} {_sentence(change)}" for change in changes]
    return "\n".join(lines) + "\n"


def to_markdown(files: Sequence[FileDifference]) -> str:
    """For a comment on a pull request."""
    if not files:
        return "### Compiled pipelines\n\nNo compiled pipeline differs.\n"
    return "### Compiled pipelines\n\n" + "\n".join(_markdown_of(each) for each in files)


def _markdown_of(file: FileDifference) -> str:
    lines = [f"#### {_escaped(file.name)}", "", _escaped(_summary(file)), ""]
    if file.changes:
        lines += ["| | Change | Before | After | Tasks |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(_row(change))} |" for change in file.changes]
        lines.append("")
    return "\n".join(lines)


def _row(change: Change) -> Iterator[str]:
    yield _marker(change)
    yield f"**{TOPICS[change.topic]}**: {_escaped(change.subject)}"
    for value in (change.before, change.after):
        yield "" if value is None else f"`{_escaped(_clipped(value)).replace('`', chr(39))}`"
    yield _escaped(_task_names(change))


def _escaped(text: str) -> str:
    """A text that stays in its cell and makes no markup."""
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;").replace("@", "&#64;")


def _summary(file: FileDifference) -> str:
    if file.difference is None:
        return "This compiled file is new." if file.before is None else "This compiled file is gone."
    if not file.changes:
        return "No change of meaning."
    count = len(file.changes)
    told = f"{count} change{'s' * (count != 1)}; a {file.difference.due} version is due"
    if file.version_due is None:
        return f"{told}."
    given = "" if file.version in {None, file.version_due} else f", the file is {file.version}"
    return f"{told}: {file.version_due}{given}."


def _marker(change: Change) -> str:
    return "+" if change.before is None else "-" if change.after is None else "~"


def _sentence(change: Change) -> str:
    tasks = _task_names(change)
    where = f"{tasks}: " if tasks else ""
    if change.topic == "task":
        return f"{change.after or change.before}"
    if change.before is None:
        return f"{where}{change.subject}: {_clipped(change.after or '')}"
    if change.after is None:
        return f"{where}{change.subject}: no longer {_clipped(change.before)}"
    return f"{where}{change.subject}: {_clipped(change.before)} -> {_clipped(change.after)}"


def _task_names(change: Change) -> str:
    if len(change.tasks) > _MOST_TASKS:
        return f"{', '.join(change.tasks[: _MOST_TASKS - 1])} and {len(change.tasks) - _MOST_TASKS + 1} more"
    return ", ".join(change.tasks)


def _clipped(value: str) -> str:
    """A value in one line, of a length that one can read."""
    line = " ".join(value.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
