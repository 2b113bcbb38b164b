import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from stepworks.report import documents as d
from stepworks.report import run_record as r
from stepworks.report.markdown import verdict_markdown
from stepworks.report.page import document_page, run_report


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return [
            found
            for name, found in self.elements
            if name == tag and all(value in (found.get(key) or "").split() for key, value in wanted.items())
        ]


def test_the_report_is_well_formed_and_its_ids_are_unique(report: str) -> None:
    page = Page(report)
    assert page.open == []
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    inside = {
        reference
        for _, found in page.elements
        for key, value in found.items()
        for reference in re.findall(r"^#(.+)$|url\(#(.+?)\)", value or "")
        if key in {"href", "xlink:href", "clip-path"}
    }
    assert {one or other for one, other in inside} <= set(ids)


def test_the_report_asks_for_nothing(report: str) -> None:
    page = Page(report)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not re.findall(r"url\((?!#)|@import", report)


def test_the_report_shows_what_every_step_found(report: str) -> None:
    page = Page(report)
    for told in (
        "Succeeded after 1 min 28 s, started 24 November 2025, 15:21 UTC",
        "14 of 14 steps succeeded",
        "25 cancelled",
        "distance integer, 16",  # per cent missing
        "warning nulls seats 16 % at most 10 %",
        "train 2013-01-01 05:15 2013-09-30 23:59 750",
        "from the checkpoint of epoch 2",
        "AUC 0.707 0.690 to 0.720 higher is better",
        "HA 6",
        "one class only",
        "champion 3 AUC 0.7070 0.7060 +0.0010 \N{MINUS SIGN}0.0040 to 0.0060",
        "pass ahead of the baseline",
        "1.2 \N{MULTIPLICATION SIGN} 10⁻⁷, at most 1.0 \N{MULTIPLICATION SIGN} 10⁻⁵ is allowed",
        "late-flights, version 4",
        "http://127.0.0.1:41873",
        "promote : no errors in 40 requests",
        "sha256:48cae6d2",
        "84dad5e",
        "kfp 2.17.0",
        "epochs 6",
        "name: flights",
    ):
        assert told in page.text, told
    assert len(page.all("svg", class_="plot")) == 6
    assert len(page.all("svg", class_="graph")) == 2


def test_a_rehearsed_canary_is_marked_and_stands_after_the_steps(report: str) -> None:
    text = Page(report).text
    assert text.index("Promoted") < text.index("Canary, rehearsed rehearsal: a bad version on purpose")
    assert "17 of 40 requests failed" in text
    assert "Rolled back" not in text[: text.index("Where the time went")]


def test_a_failed_run_says_first_what_failed(failed_run: r.RunRecord, documents: dict) -> None:
    page = Page(run_report(failed_run, {"evaluate": documents["evaluate"]}))
    text = page.text
    assert "Failed after" in text
    assert text.index("The gate does not let the model through") < text.index("8 of 14 steps succeeded")
    assert "gate, after 13.5 s, 2 attempts" in text
    assert "logs/gate.log" in text
    assert len(page.all("g", class_="failed")) == 2  # in the wide graph and in the narrow one
    assert {found["href"] for found in page.all("a")} == {"#failed-gate", "#s0"}


def test_a_run_that_has_only_begun(run: r.RunRecord) -> None:
    steps = [step.model_copy(update={"state": "pending", "seconds": None}) for step in run.steps]
    bare = {"parameters": {}, "data_digest": None, "code_revision": None, "package_versions": {}}
    page = Page(run_report(run.model_copy(update={"state": "running", "steps": steps, **bare}), {}))
    assert "0 of 14 steps succeeded" in page.text
    assert "not recorded" in page.text
    assert "Where the time went" not in page.text


def test_a_run_without_steps(run: r.RunRecord) -> None:
    assert "0 of 0 steps" in Page(run_report(run.model_copy(update={"steps": []}), {})).text


CANARY_METRICS = ("errors", "latency", "answers")


def _hostile(value: Any, text: str) -> Any:
    """Put a text in the place of every free text of a document."""
    if isinstance(value, dict):
        enumerated = {"kind", "severity", "stopped_by", "outcome", "verdict", "decision", "state", "mode"}
        fixed = {*enumerated, "started", "depends_on"}
        return {
            key if key not in {"cancelled", "batch_size"} else text: inner
            if key in fixed or inner in CANARY_METRICS
            else _hostile(inner, text)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_hostile(inner, text) for inner in value]
    return text if isinstance(value, str) else value


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style></svg><b>", "a & b < $x^2$ ' é"]
)
def test_values_of_the_data_are_never_markup(text: str, run: r.RunRecord, documents: dict, report: str) -> None:
    harmless = Page(report)
    record = run.model_dump()
    for step in record["steps"]:
        step.update(component=text, log=text, error=text)
    record.update(pipeline=text, version=text, run_id=text, code_revision=text, data_digest=text)
    hostile = {
        step: [type(found).model_validate(_hostile(json.loads(found.model_dump_json()), text)) for found in left]
        for step, left in documents.items()
    }

    page = Page(run_report(r.RunRecord.model_validate(record), hostile))

    assert text.split("$", maxsplit=1)[0].strip() in page.text
    assert page.open == []
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in harmless.elements}
    assert not [key for _, found in page.elements for key in found if key.startswith("on")]


def test_the_same_documents_give_the_same_bytes(run: r.RunRecord, documents: dict, report: str) -> None:
    assert run_report(run, documents) == report


def test_a_page_of_one_step(documents: dict) -> None:
    page = Page(document_page([*documents["evaluate"], *documents["evaluate"]], "Evaluation"))
    assert page.all("h1")
    assert len(page.all("section")) == 2
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"stopped_by": "epochs", "best_epoch": 9}, "Best epoch 9 "),
        ({"epochs": [], "settings": {}}, "Epochs 0, ended because no better epoch came"),
    ],
)
def test_training_of_another_course(change: dict, told: str, documents: dict) -> None:
    training = documents["train"][0].model_copy(update=change)
    assert told in Page(document_page([training], "Training")).text


def test_training_by_a_loop_of_ones_own_tells_only_what_is_known() -> None:
    training = d.TrainingDocument(model="python train.py", settings={"rate": "0.1"})
    text = Page(document_page([training], "Training")).text
    assert "Model python train.py" in text
    for unknown in ("Device", "Parameters", "Epochs", "Best epoch", "Speed"):
        assert unknown not in text


def test_an_evaluation_with_nothing_decided_and_no_slices(documents: dict) -> None:
    nothing = d.Confusion(threshold=0.9, true_positives=0, false_positives=0, true_negatives=9, false_negatives=0)
    bare = documents["evaluate"][0].model_copy(update={"confusion": nothing, "slices": [], "metrics": []})
    text = Page(document_page([bare], "Evaluation")).text
    assert "At a threshold of 0.9." in text
    assert "Slices" not in text


def test_a_first_canary_without_anything_stable(documents: dict) -> None:
    canary = documents["roll-out-canary"][0]
    stage = canary.stages[0].model_copy(update={"stable": None})
    text = Page(document_page([canary.model_copy(update={"stable_version": None, "stages": [stage]})], "Canary")).text
    assert "late-flights-4 for the first time" in text
    assert "stable" not in text
    held = canary.model_copy(update={"stages": [], "outcome": "held"})
    assert "Held" in Page(document_page([held], "Canary")).text


def test_each_window_of_a_canary_tells_its_counts_and_its_evidence(documents: dict) -> None:
    page = Page(document_page(documents["rehearsal"], "Canary"))
    for told in (
        "The evidence, 3 windows",
        "5 of 10, 0 of 250",
        "0 of 15, 1 of 250",
        "1,000",
        "at 300, a full bar",
        "At 5 % it",
    ):
        assert told in page.text, told
    bars = {found["class"] for found in page.all("svg") if "tone" in found["class"]}
    assert bars == {"mark tone-accent", "mark tone-bad"}, "only what rolls back is red"


def test_the_windows_of_a_long_roll_out_are_folded_away(documents: dict) -> None:
    canary = documents["roll-out-canary"][0]
    stage = canary.stages[0]
    for windows, opened in ((stage.windows * 8, True), (stage.windows * 9, False)):
        long = canary.model_copy(update={"stages": [stage.model_copy(update={"windows": windows})]})
        (details,) = Page(document_page([long], "Canary")).all("details")
        assert ("open" in details) == opened


def test_broken_checks_come_first_and_failures_are_named(documents: dict) -> None:
    validation = documents["validate-table"][0]
    broken = validation.checks[1].model_copy(update={"severity": "error"})
    text = Page(document_page([validation.model_copy(update={"checks": [broken], "passed": False})], "V")).text
    assert "0 of 1 check passed" in text
    assert "error nulls seats" in text
    check = documents["check-serving"][0].model_copy(update={"passed": False})
    assert "The server answers otherwise" in Page(document_page([check], "Check")).text


def test_a_verdict_as_markdown(documents: dict) -> None:
    verdict = documents["gate"][0]
    hostile = verdict.model_copy(update={"verdict": "insufficient_data", "reason": "a|b <c> *d*\ne"})
    written = verdict_markdown(hostile)
    assert written.startswith("# Verdict: insufficient data\n")
    assert r"a\|b \<c\> \*d\* e" in written
    assert "Overridden" not in written
    overridden = verdict.model_copy(update={"verdict": "fail", "override": "no *other* will do"})
    assert verdict_markdown(overridden).endswith("\nOverridden: no \\*other\\* will do\n")
    assert "Overridden: no *other* will do" in Page(document_page([overridden], "Verdict")).text
    assert "| ahead of the baseline | pass | +0.084 (+0.079 to +0.089) |" in written
