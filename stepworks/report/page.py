"""Pages: one step's documents for the Kubeflow UI, and the report of a whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from stepworks.files import write_atomically
from stepworks.report import (
    canary_section,
    data_sections,
    model_sections,
    preflight_section,
    serving_sections,
    tuning_section,
)
from stepworks.report.documents import Document
from stepworks.report.markup import Child, Markup, element, join
from stepworks.report.run_record import RunRecord, StepRecord
from stepworks.report.run_sections import failure_section, header, lineage_section, steps_section
from stepworks.report.section import Section
from stepworks.report.wording import duration

_SECTIONS: dict[str, Callable[[Any], Section]] = {
    "preflight": preflight_section.preflight_section,
    "validation": data_sections.validation_section,
    "split": data_sections.split_section,
    "comparison": model_sections.comparison_section,
    "verdict": model_sections.verdict_section,
    "serving_check": serving_sections.serving_check_section,
    "registration": serving_sections.registration_section,
    "deployment": serving_sections.deployment_section,
    "shadow": serving_sections.shadow_section,
    "canary": canary_section.canary_section,
}
"""How each kind of document is shown."""

_PLOTTED_SECTIONS: dict[str, Callable[[Any, str], Section]] = {
    "profile": data_sections.profile_section,
    "training": model_sections.training_section,
    "tuning": tuning_section.tuning_section,
    "evaluation": model_sections.evaluation_section,
}
"""How each kind of document with plots is shown; their ids are made from a name that is unique in the page."""


def _section(document: Document, identifier: str) -> Section:
    if document.kind in _PLOTTED_SECTIONS:
        return _PLOTTED_SECTIONS[document.kind](document, identifier)
    return _SECTIONS[document.kind](document)


def document_page(documents: Sequence[Document], title: str) -> str:
    """A page of some documents, for a single step.

    The page is one file and asks for nothing: the Kubeflow UI shows it in a frame that may load nothing.

    Args:
        documents: What to show, in this order.
        title: The page's heading.
    """
    sections = (
        _section(document, f"s{position}").markup(f"s{position}") for position, document in enumerate(documents)
    )
    return _page(title, element("header", element("h1", title)), *sections)


def write_page(path: str | Path, title: str, *documents: Document) -> Path:
    """Write a page of some documents, as `document_page` makes it.

    Raises:
        ResourceError: The disk is full or the path is not writable.
    """
    return write_atomically(Path(path), document_page(documents, title).encode())


def run_report(run: RunRecord, documents: Mapping[str, Sequence[Document]]) -> str:
    """The report of a run: what was done, what was found, and what it was made of.

    Args:
        run: The run.
        documents: What each step left, by the step's name. Documents under other names, such as a rehearsal's,
            come after those of the steps.
    """
    placed = list(_placed(run, documents))
    links = {step.name: identifier for identifier, step, _ in reversed(placed) if step is not None}
    failed = [step for step in run.steps if step.state == "failed"]
    links |= {step.name: f"failed-{step.name}" for step in failed}
    return _page(
        f"{run.pipeline} {run.version}: {run.state}",
        header(run, [document for _, _, document in placed]),
        *(failure_section(step).markup(f"failed-{step.name}", class_="failure") for step in failed),
        steps_section(run, links).markup("steps"),
        *(_section(document, identifier).markup(identifier, _step_note(step)) for identifier, step, document in placed),
        lineage_section(run).markup("lineage"),
    )


def _placed(
    run: RunRecord, documents: Mapping[str, Sequence[Document]]
) -> Iterator[tuple[str, StepRecord | None, Document]]:
    """The documents in the order of the steps, each with an id for its section."""
    steps = {step.name: step for step in run.steps}
    names = [name for name in steps if name in documents] + [name for name in documents if name not in steps]
    number = 0
    for name in names:
        for document in documents[name]:
            yield f"s{number}", steps.get(name), document
            number += 1


def _step_note(step: StepRecord | None) -> str | None:
    return None if step is None else f"{step.name}, {duration(step.seconds)}"


def _page(title: str, *content: Child) -> str:
    style = Markup(files("stepworks.report").joinpath("style.css").read_text(encoding="utf-8"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Whatever a value of the data holds, the page loads nothing and runs nothing.
        element("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        element("title", title),
        element("style", style),
    )
    footer = element("footer", "Written by Stepworks. This file needs no network.")
    body = element("body", *content, footer)
    return join(Markup("<!doctype html>\n"), element("html", head, body, lang="en"), "\n")
