import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.errors import ConfigurationError, NotFoundError, ParameterError, UserError
from stepworks.kubeflow.lint.check import Report, lint_files
from stepworks.kubeflow.lint.configuration import Configuration, read_configuration, write_baseline
from stepworks.kubeflow.lint.documentation import main as write_documentation
from stepworks.kubeflow.lint.documentation import page
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.machine import json_text, sarif_text
from stepworks.kubeflow.lint.rules import all_rules
from stepworks.kubeflow.lint.text import WIDTH, plain_text, summary
from tests.unit.kubeflow.lint.lint_cases import Damage, Parts, accelerated_check, unbounded_accelerators, unknown_count

TODAY = date(2026, 1, 15)
ROOT = Path(__file__).parents[4]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, *damages: Damage) -> Path:
    parts = Parts()
    for damage in damages:
        damage(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all([parts.specification, parts.platform], sort_keys=False), encoding="utf-8")
    return path


def no_tag(parts: Parts) -> None:
    parts.train["image"] = "example.com/train"


def no_limit(parts: Parts) -> None:
    parts.resources.pop("resourceMemoryLimit")


def configuration(folder: Path, text: str) -> Configuration:
    path = folder / "lint.yaml"
    path.write_text(text)
    return replace(read_configuration(Path("lint.yaml")))


def lint(*paths: str, **options: Any) -> Report:
    given: dict[str, Any] = {"configuration": Configuration(), "today": TODAY} | options
    return lint_files([Path(path) for path in paths], given.pop("configuration"), **given)


def found(report: Report) -> list[str]:
    return [finding.rule for finding in report.counted]


def exception(rule: str = "I01", expires: date = TODAY, **more: str) -> str:
    fields = {"rule": rule, "reason": "it is mended next week", "expires": expires, **more}
    return yaml.safe_dump({"exceptions": [fields]})


def test_files_and_folders_are_linted(folder: Path) -> None:
    write(folder / "ir" / "a.yaml", no_tag)
    write(folder / "ir" / "deep" / "b.yml", no_limit)
    (folder / "ir" / "notes.txt").write_text("none")
    report = lint("ir")
    assert [(finding.file, finding.rule) for finding in report.findings] == [
        ("ir/a.yaml", "I01"), ("ir/deep/b.yml", "R04"),
    ]  # fmt: skip
    assert lint(str(folder / "ir" / "a.yaml")).findings == report.findings[:1]
    (folder / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no YAML file"):
        lint("empty")


def test_rules_are_selected_by_id_or_family(folder: Path) -> None:
    write(folder / "a.yaml", no_tag, no_limit)
    assert found(lint("a.yaml")) == ["R04", "I01"]
    assert found(lint("a.yaml", select=["I"])) == ["I01"]
    assert found(lint("a.yaml", ignore=["I01"])) == ["R04"]
    for option in ({"select": ["Z9"]}, {"ignore": [""]}):
        with pytest.raises(ParameterError, match="no such rule"):
            lint("a.yaml", **option)


def test_severities_of_the_configuration_replace_those_of_the_rules(folder: Path) -> None:
    write(folder / "a.yaml", no_tag, no_limit)
    report = lint("a.yaml", configuration=configuration(folder, "severity: {I01: info, R04: 'off'}"))
    assert [(finding.rule, finding.severity) for finding in report.findings] == [("I01", Severity.INFO)]


def test_the_limit_of_the_command_goes_before_that_of_the_file(folder: Path) -> None:
    write(folder / "a.yaml", accelerated_check)
    strict = configuration(folder, "max_gpus: 1")
    assert found(lint("a.yaml", configuration=strict)) == ["R08"]
    assert found(lint("a.yaml", configuration=strict, max_gpus=4)) == []


def test_an_exception_accepts_until_its_day_and_is_told_after(folder: Path) -> None:
    write(folder / "a.yaml", no_tag)
    accepted = configuration(folder, exception(task="all/*", file="*.yaml", subject="example.com/*"))
    report = lint("a.yaml", configuration=accepted)
    assert found(report) == []
    assert report.findings[0].accepted == "it is mended next week (until 2026-01-15)"
    late = lint("a.yaml", configuration=accepted, today=TODAY + timedelta(days=1))
    assert found(late) == ["I01", "L01"]
    assert (late.counted[1].file, late.counted[1].line) == ("lint.yaml", 2)
    assert late.counted[1].severity is Severity.ERROR


@pytest.mark.parametrize("other", [{"task": "train"}, {"file": "b/*", "rule": "R04"}, {"subject": "x"}])
def test_an_exception_that_matches_nothing_is_told(folder: Path, other: dict[str, str]) -> None:
    write(folder / "b" / "a.yaml", no_tag)
    idle = configuration(folder, exception(**other))  # type: ignore[arg-type]
    assert found(lint("b/a.yaml", configuration=idle)) == ["I01", "L02"]
    assert found(lint("b/a.yaml", configuration=idle, ignore=["L02"])) == ["I01"]


def test_an_exception_for_what_is_not_looked_at_is_left_alone(folder: Path) -> None:
    write(folder / "a.yaml")
    assert found(lint("a.yaml", configuration=configuration(folder, exception(file="other/*")))) == []
    assert found(lint("a.yaml", configuration=configuration(folder, exception()), select=["S", "L"])) == []
    assert found(lint("a.yaml", configuration=configuration(folder, exception()))) == ["L02"]


WRONG = {
    "a list": ("- a", "lint.yaml:1: the file"),
    "unknown field": ("max_gpu: 1", "The lint configuration lint.yaml is wrong\n  Received: lint.yaml:1: max_gpu: "),
    "nearest field": ("max_gpu: 1", "max_gpu: there is no field max_gpu; did you mean max_gpus?"),
    "nearest inner field": (
        "exceptions:\n- {rule: I01, reason: x, expire: 2026-01-01}",
        "lint.yaml:2: exceptions.0.expire: there is no field expire",
    ),
    "no reason": ("exceptions:\n- {rule: I01, expires: 2026-01-01}", "lint.yaml:2: exceptions.0.reason"),
    "blank reason": ("exceptions:\n- rule: I01\n  reason: ' '\n  expires: 2026-01-01", "lint.yaml:3"),
    "no day": ("exceptions:\n- {rule: I01, reason: x}", "exceptions.0.expires: Field required"),
    "wrong day": ("exceptions:\n- rule: I01\n  reason: x\n  expires: soon", "lint.yaml:4: exceptions.0.expires"),
    "unknown rule": (
        "exceptions:\n- {rule: Z99, reason: x, expires: 2026-01-01}",
        "lint.yaml:2: exceptions.0.rule: there is no rule Z99; docs/lint-rules.md",
    ),
    "severity of none": ("severity:\n  Z99: info", "lint.yaml:2: severity.Z99: there is no rule Z99"),
    "unknown severity": ("severity:\n  I01: bad", "lint.yaml:2: severity.I01"),
    "access mode": ("claims:\n  data: RWX", "lint.yaml:2: claims.data"),
    "two documents": ("max_gpus: 1\n---\nmax_gpus: 2", "The lint configuration lint.yaml is not YAML"),
    "no YAML": ("max_gpus: [", "The lint configuration lint.yaml is not YAML"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_configuration_is_told_with_its_line(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration(folder, text)
    assert message in str(caught.value)


def test_every_fault_of_a_configuration_is_told(folder: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration(folder, "max_gpus: -1\nseverity: {Z98: info, Z99: info}\nexceptions:\n- {rule: Z97, reason: x}")
    told = ("lint.yaml:1: max_gpus", "lint.yaml:2: severity.Z98", "severity.Z99", "exceptions.0.rule", "0.expires")
    assert all(each in str(caught.value) for each in told)


def test_a_configuration_that_is_not_there_is_told_as_one(folder: Path) -> None:
    with pytest.raises(NotFoundError, match=r"There is no lint configuration nothere\.yaml"):
        read_configuration(Path("nothere.yaml"))
    with pytest.raises(NotFoundError, match=r"There is no lint baseline nothere\.yaml"):
        Configuration().with_baseline(Path("nothere.yaml"))


def test_an_empty_configuration_is_the_default(folder: Path) -> None:
    assert configuration(folder, "# nothing yet\n") == Configuration()


def test_a_baseline_accepts_what_was_there_and_nothing_new(folder: Path) -> None:
    write(folder / "a.yaml", no_tag)
    report = lint("a.yaml")
    write_baseline(Path("baseline.yaml"), report.at_least(Severity.WARNING), TODAY)
    based = Configuration().with_baseline(Path("baseline.yaml"))
    assert found(lint("a.yaml", configuration=based)) == []
    write(folder / "a.yaml", no_tag, no_limit)
    assert found(lint("a.yaml", configuration=based)) == ["R04"]
    write(folder / "a.yaml", lambda parts: parts.train.update(image="example.com/other"))
    assert found(lint("a.yaml", configuration=based)) == ["I01", "L02"]
    assert "L01" in found(lint("a.yaml", configuration=based, today=TODAY + timedelta(days=91)))
    (folder / "settings.yaml").write_text("max_gpus: 1")
    with pytest.raises(ConfigurationError, match="has settings"):
        Configuration().with_baseline(Path("settings.yaml"))


def test_the_text_groups_by_file_and_rule_and_fits_the_page(folder: Path) -> None:
    write(folder / "a.yaml", no_tag, no_limit)
    write(folder / "b.yaml", unbounded_accelerators)
    text = plain_text(lint("a.yaml", "b.yaml"))
    lines = text.splitlines()
    assert lines[0] == "a.yaml"
    assert lines[1] == "  error   I01  An image has no tag, or the tag `latest`"
    assert "all/train: The image example.com/train has no tag" in lines[2]
    assert all(len(line) <= WIDTH for line in lines[:-1])
    assert lines[-1] == (
        "2 files: 1 error, 3 warnings, 0 hints. Accelerators at once: at least 2 (2 nvidia.com/gpu) in b.yaml, "
        "and more in 1 loop without bound."
    )
    assert summary(lint("a.yaml")).endswith("Accelerators at once: at most 1 (1 nvidia.com/gpu).")


def test_the_summary_names_what_only_the_run_knows(folder: Path) -> None:
    write(folder / "a.yaml", unknown_count)
    assert summary(lint("a.yaml")).endswith(
        "Accelerators at once: at least 1 (1 nvidia.com/gpu), and more in 1 task whose number only the run knows."
    )


def test_without_accelerators_and_with_exceptions_the_summary_says_so(folder: Path) -> None:
    write(folder / "a.yaml", lambda p: p.resources.pop("accelerator"), no_tag)
    report = lint("a.yaml", configuration=configuration(folder, exception()))
    assert summary(report) == "1 file: 0 errors, 0 warnings, 0 hints, 1 accepted by an exception. No accelerators."


def test_json_holds_everything(folder: Path) -> None:
    write(folder / "a.yaml", no_tag, no_limit)
    document = json.loads(json_text(lint("a.yaml", configuration=configuration(folder, exception("R04")))))
    (finding,) = document["findings"]
    assert (finding["rule"], finding["severity"], finding["task"]) == ("I01", "error", "all/train")
    assert document["accepted"][0]["rule"] == "R04"
    assert document["summary"] == {"error": 1, "warning": 0, "info": 0}
    assert document["files"] == [
        {
            "file": "a.yaml", "pipeline": "clean-one", "backend": "kubeflow", "tasks": 6,
            "peak": {"count": 1, "by_type": {"nvidia.com/gpu": 1}, "unbounded": [], "unknown": []},
        }
    ]  # fmt: skip


def test_sarif_has_what_its_schema_requires(folder: Path) -> None:
    write(folder / "with space.yaml", no_tag, no_limit)
    document = json.loads(sarif_text(lint("with space.yaml", configuration=configuration(folder, exception("R04")))))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [each["id"] for each in rules] == list(all_rules())
    assert all(each["help"]["text"] and each["shortDescription"]["text"] for each in rules)
    assert {each["defaultConfiguration"]["level"] for each in rules} == {"error", "warning", "note"}
    second, first = run["results"]
    assert rules[first["ruleIndex"]]["id"] == first["ruleId"] == "I01"
    assert (first["level"], first["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]) == (
        "error",
        "all/train",
    )
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "with%20space.yaml"
    assert place["region"]["startLine"] > 1
    assert place["region"]["startColumn"] > 1
    assert len(first["partialFingerprints"]["stepworksFinding/v1"]) == 32
    assert "suppressions" not in first
    assert second["suppressions"][0] == {
        "kind": "external",
        "justification": "it is mended next week (until 2026-01-15)",
    }


def test_a_fingerprint_stays_when_lines_move(folder: Path) -> None:
    path = write(folder / "a.yaml", no_tag)
    before = lint("a.yaml").findings[0]
    path.write_text("# a comment\n\n" + path.read_text())
    after = lint("a.yaml").findings[0]
    assert after.line == before.line + 2
    assert after.fingerprint == before.fingerprint


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(folder: Path) -> Run:
    """Run the command; a message of an error counts as output."""

    def invoke(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["lint", *arguments])
        if isinstance(result.exception, UserError):
            return result.exception.exit_code, str(result.exception)
        return result.exit_code, result.output

    return invoke


def test_the_exit_code_says_whether_there_are_findings(run: Run, folder: Path) -> None:
    write(folder / "clean.yaml")
    write(folder / "warning.yaml", no_limit)
    write(folder / "hint.yaml", lambda p: p.train.update(image="example.com/train:1"))
    assert run("clean.yaml")[0] == 0
    assert run("hint.yaml")[0] == 0
    assert run("hint.yaml", "--fail-on", "info")[0] == 1
    assert run("warning.yaml")[0] == 1
    assert run("warning.yaml", "--fail-on", "error")[0] == 0
    assert run("clean.yaml", "--max-gpus", "0")[0] == 1
    (folder / "not.yaml").write_text("apiVersion: v1\nkind: Secret\n")
    code, message = run("not.yaml")
    assert (code, "a Kubernetes manifest of the kind Secret" in message) == (2, True)
    assert run()[0] == 2
    assert run("clean.yaml", "--select", "Q")[0] == 2


def test_the_configuration_of_the_folder_is_taken(run: Run, folder: Path) -> None:
    write(folder / "a.yaml", no_limit)
    (folder / "stepworks.lint.yaml").write_text("severity: {R04: 'off'}")
    assert run("a.yaml")[0] == 0
    (folder / "other.yaml").write_text("")
    assert run("a.yaml", "--config", "other.yaml")[0] == 1


def test_a_baseline_is_written_and_taken(run: Run, folder: Path) -> None:
    write(folder / "a.yaml", no_limit)
    code, output = run("a.yaml", "--write-baseline", "baseline.yaml")
    assert (code, output) == (0, "baseline.yaml written: it accepts 1 of the findings.\n")
    assert run("a.yaml", "--baseline", "baseline.yaml")[0] == 0


def test_a_report_goes_to_a_file(run: Run, folder: Path) -> None:
    write(folder / "a.yaml", no_limit)
    code, output = run("a.yaml", "--format", "sarif", "--output", "report.sarif")
    assert code == 1
    assert output.startswith("report.sarif written. 1 file: 0 errors, 1 warning")
    assert json.loads((folder / "report.sarif").read_text())["version"] == "2.1.0"
    assert json.loads(run("a.yaml", "--format", "json")[1])["summary"]["warning"] == 1


def test_a_rule_is_explained(run: Run) -> None:
    code, output = run("--explain", "A01")
    assert code == 0
    assert output.startswith("A01  An accelerator without a toleration or a node selector (warning).")
    assert "What to do: Add the toleration" in output
    assert run("--explain", "Z99")[0] == 2


def test_colours_are_for_terminals_only(folder: Path) -> None:
    write(folder / "a.yaml", no_tag)
    command = [sys.executable, "-m", "stepworks", "lint", "a.yaml"]
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    assert b"\x1b[" not in subprocess.run(command, capture_output=True, check=False, env=environment).stdout
    leader, follower = pty.openpty()
    with subprocess.Popen(command, stdout=follower, stderr=follower, env=environment) as process:
        assert process.wait(timeout=60) == 1
    os.close(follower)
    shown = os.read(leader, 65536)
    os.close(leader)
    assert b"\x1b[" in shown
    assert b"I01" in shown


def test_the_page_of_rules_is_that_of_the_rules(folder: Path) -> None:
    assert (ROOT / "docs" / "lint-rules.md").read_text() == page()
    assert write_documentation(["--check", "rules.md"]) == 1
    assert write_documentation(["rules.md"]) == 0
    assert write_documentation(["--check", "rules.md"]) == 0
    assert (folder / "rules.md").read_text() == page()


def test_hints_can_be_counted_without_being_listed(folder: Path) -> None:
    write(folder / "a.yaml", no_tag)
    compiled = str(next((ROOT / "compiled").glob("*/*/a100.yaml")))
    listed = CliRunner().invoke(app, ["lint", compiled])
    quiet = CliRunner().invoke(app, ["lint", compiled, "--quiet"])
    assert "I05" in listed.output
    assert "I05" not in quiet.output
    assert quiet.output.strip() == listed.output.strip().splitlines()[-1]
    assert "I01" in CliRunner().invoke(app, ["lint", "a.yaml", "--quiet"]).output
