"""Each component's README.md, written from its code: `python -m stepworks.kubeflow.readme [--check] components`."""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from stepworks.kubeflow.component import family_of_image


def component_pages(folder: Path) -> dict[Path, str]:
    """The text of the README.md of each component below `folder`, by its path."""
    pages = {}
    for module_path in sorted(folder.glob("*/*/component.py")):
        area, step = module_path.parts[-3:-1]
        module = importlib.import_module(f"stepworks.components.{area}.{step}.component")
        pages[module_path.with_name("README.md")] = component_page(area, getattr(module, step))
    return pages


def component_page(area: str, component: Any) -> str:
    """Describe a component: what it does, its image, inputs, parameters and outputs."""
    spec = component.component_spec
    function = component.python_func
    described = _argument_descriptions(function)
    summary, _, rest = (inspect.getdoc(function) or "").partition("\n")
    details = rest.partition("Args:")[0].strip()
    inputs = spec.inputs or {}
    parameters = {name: each for name, each in inputs.items() if not _is_artifact(each.type)}
    artifacts = {name: each for name, each in inputs.items() if _is_artifact(each.type)}
    image = family_of_image(spec.implementation.container.image)
    import_path = f"stepworks.components.{area}.{function.__name__}.component"
    sections = [
        f"# {area}/{function.__name__}\n\n{summary}",
        details,
        f"Runs in the `{image}` image.",
        f"```python\nfrom {import_path} import {function.__name__}\n```",
        _table(
            "Input artifacts",
            ["Name", "Type", "Meaning"],
            [[f"`{name}`", _type(each.type), described.get(name, "")] for name, each in artifacts.items()],
        ),
        _table(
            "Parameters",
            ["Name", "Type", "Default", "Meaning"],
            [
                [f"`{name}`", _type(each.type), _default(each), described.get(name, "")]
                for name, each in parameters.items()
            ],
        ),
        _table(
            "Outputs",
            ["Name", "Type", "Meaning"],
            [[f"`{name}`", _type(each.type), described.get(name, "")] for name, each in (spec.outputs or {}).items()],
        ),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _argument_descriptions(function: Any) -> dict[str, str]:
    """The `Args:` section of a Google docstring, continued lines joined."""
    described: dict[str, str] = {}
    name = None
    for line in (inspect.getdoc(function) or "").partition("Args:")[2].splitlines():
        text = line.strip()
        if not line.startswith(" " * 4):
            if text:
                break
            continue
        if not line.startswith(" " * 5) and ": " in text:
            name, _, text = text.partition(": ")
            described[name] = text
        elif name and text:
            described[name] += f" {text}"
    return described


def _is_artifact(kind: Any) -> bool:
    return str(kind).startswith("system.")


def _type(kind: Any) -> str:
    return str(kind).removeprefix("system.").partition("@")[0]


def _default(each: Any) -> str:
    return f"`{each.default!r}`" if each.optional else "(must be given)"


def _table(title: str, headings: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [headings, ["---"] * len(headings), *rows]
    return f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Write the pages, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    arguments = parser.parse_args()
    stale = [
        (path, text)
        for path, text in component_pages(arguments.folder).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        if arguments.check:
            sys.stderr.write(f"{path} is not what its component says. What to do: make docs\n")
        else:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path} written\n")
    return int(arguments.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
