"""docs/lint-rules.md, written from the rules: `python -m stepworks.kubeflow.lint.documentation [--check] [FILE]`."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from stepworks.kubeflow.lint.rule import Rule
from stepworks.kubeflow.lint.rules import all_rules

PAGE = Path("docs/lint-rules.md")
FAMILIES = {
    "S": "Structure: what the graph says must be there",
    "P": "The pipeline as a whole",
    "I": "Images and installations",
    "A": "Accelerators",
    "D": "Settings that KFP drops or takes otherwise",
    "V": "Volumes",
    "R": "Running",
    "X": "Secrets",
    "L": "Exceptions",
}
"""The families of rules, by the first letter of an id, in the order of the page."""

_INTRODUCTION = (
    "Written from the rules by `make docs`; [lint.md](lint.md) says how to use them. An `error` fails the run or makes "
    "it do other than what was written; a `warning` may fail, waste, or cannot be repeated; an `info` is a hint."
)
_BACKENDS = {"any": "", "kubeflow": " Not for Vertex AI."}


def page() -> str:
    """The page of all rules."""
    parts = [
        "# Rules of `stepworks lint`",
        _INTRODUCTION,
    ]
    for letter, family in FAMILIES.items():
        rules = [rule for id_, rule in all_rules().items() if id_.startswith(letter)]
        rows = [f"| [{rule.id}](#{rule.id.lower()}) | {rule.severity} | {rule.title} |" for rule in rules]
        parts += [f"## {family}", "\n".join(["| Rule | Severity | Finds |", "| --- | --- | --- |", *rows])]
        parts += [f"### {rule.id}\n\n{explanation(rule)}" for rule in rules]
    return "\n\n".join(parts) + "\n"


def explanation(rule: Rule) -> str:
    """What a person needs to know of a rule, in Markdown."""
    lines = [f"**{rule.title}** ({rule.severity}).{_BACKENDS[rule.backend]} {inspect.getdoc(rule.check)}"]
    lines += [f"Why: {rule.why}", f"What to do: {rule.what_to_do}"]
    if rule.parameters:
        lines.append(f"Judged by the configuration's {', '.join(f'`{name}`' for name in rule.parameters)}.")
    return "\n\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or say that it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=PAGE)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    given = parser.parse_args(arguments)
    text = page()
    if given.file.exists() and given.file.read_text(encoding="utf-8") == text:
        return 0
    if given.check:
        sys.stderr.write(f"{given.file} is not what the rules say. What to do: make docs\n")
        return 1
    given.file.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{given.file} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
