"""Linting: every rule on every file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from stepworks.errors import NotFoundError, ParameterError
from stepworks.kubeflow.ir.model import Ir
from stepworks.kubeflow.ir.peak import Peak
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.lint.configuration import Configuration
from stepworks.kubeflow.lint.exceptions import about_exceptions, accept
from stepworks.kubeflow.lint.finding import Finding, Severity
from stepworks.kubeflow.lint.rule import Context, Limits, Rule
from stepworks.kubeflow.lint.rules import all_rules

_SUFFIXES = {".yaml", ".yml"}


@dataclass(frozen=True)
class LintedFile:
    """A file that was linted.

    Attributes:
        file: The file, as it was named.
        pipeline: The name of its pipeline.
        backend: What it was compiled for.
        tasks: How many tasks it has.
        peak: How many accelerators it may hold at once.
    """

    file: str
    pipeline: str
    backend: str
    tasks: int
    peak: Peak


@dataclass(frozen=True)
class Report:
    """What was linted and found; `findings` are in the order of files and lines, accepted ones among them."""

    files: tuple[LintedFile, ...]
    findings: tuple[Finding, ...]

    @property
    def counted(self) -> list[Finding]:
        """The findings that no exception accepts."""
        return [finding for finding in self.findings if not finding.accepted]

    def at_least(self, severity: Severity) -> list[Finding]:
        """The findings that count and are at least so bad."""
        return [finding for finding in self.counted if finding.severity.rank >= severity.rank]

    def number(self, severity: Severity) -> int:
        """How many findings of a severity count."""
        return Counter(finding.severity for finding in self.counted)[severity]


def lint_files(
    paths: Sequence[Path],
    configuration: Configuration,
    *,
    today: date,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    max_gpus: int | None = None,
) -> Report:
    """Lint compiled pipelines.

    Args:
        paths: Files, and folders whose YAML files are all linted.
        configuration: The settings and exceptions in force.
        today: The day by which exceptions expire.
        select: Ids of rules, or first letters of them, to look for; everything when empty.
        ignore: Ids of rules, or first letters, not to look for.
        max_gpus: The most accelerators that a pipeline may hold at once; None for what the configuration says.

    Raises:
        NotFoundError: A path is not there, or a folder holds no YAML.
        ParameterError: A rule is not known.
        ConfigurationError: A file is no compiled pipeline.
    """
    rules = chosen_rules(select, ignore, configuration)
    limits = configuration.limits(max_gpus)
    files: list[LintedFile] = []
    findings: list[Finding] = []
    for path in _files_of(paths):
        name = _shown(path)
        ir = read_ir(path)
        context = Context(ir, limits)
        findings += sorted(
            _check(context, name, rules, configuration), key=lambda each: (each.line, each.column, each.rule)
        )
        files.append(LintedFile(name, ir.name, ir.backend, len(ir.tasks), context.peak))
    exceptions = configuration.exceptions
    marked = accept(findings, exceptions, today)
    marked += [
        finding
        for finding in about_exceptions(exceptions, marked, {each.file for each in files}, set(rules), today)
        if finding.rule in rules
    ]
    return Report(tuple(files), tuple(marked))


def lint_ir(ir: Ir, limits: Limits | None = None) -> list[Finding]:
    """Apply every rule to one pipeline, without configuration."""
    context = Context(ir, limits or Limits())
    return list(_check(context, _shown(ir.file), all_rules(), Configuration()))


def _check(context: Context, name: str, rules: dict[str, Rule], configuration: Configuration) -> Iterator[Finding]:
    severities = configuration.settings.severity
    for rule in rules.values():
        if not rule.applies_to(context.ir):
            continue
        for found in rule.check(context):
            line, column = context.ir.position(found.location)
            severity = severities.get(rule.id) or found.severity or rule.severity
            yield Finding(
                rule.id,
                Severity(severity),
                name,
                line,
                column,
                found.task,
                found.subject,
                found.message,
                rule.what_to_do,
            )


def chosen_rules(select: Sequence[str], ignore: Sequence[str], configuration: Configuration) -> dict[str, Rule]:
    """The rules that are selected, not ignored and not off.

    Raises:
        ParameterError: An id or a first letter is of no rule.
    """
    rules = all_rules()
    for wanted in (*select, *ignore):
        if not any(id_.startswith(wanted) for id_ in rules) or not wanted:
            raise ParameterError(
                "There is no such rule",
                received=wanted or "(nothing)",
                expected=f"one of {', '.join(rules)}, or the first letter of some",
                what_to_do="Correct the id; docs/lint-rules.md explains each.",
            )
    off = {id_ for id_, severity in configuration.settings.severity.items() if severity == "off"}
    return {
        id_: rule
        for id_, rule in rules.items()
        if id_ not in off and (not select or _named(id_, select)) and not _named(id_, ignore)
    }


def _named(id_: str, names: Collection[str]) -> bool:
    return any(id_.startswith(name) for name in names)


def _files_of(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(each for each in path.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
        if not inside:
            raise NotFoundError(
                f"There is no YAML file in {path}",
                expected="compiled pipelines, *.yaml",
                what_to_do="Compile the pipelines first: stepworks compile",
            )
        yield from inside


def _shown(path: Path) -> str:
    """A path as it is shown and matched: below the working folder without it, with forward slashes."""
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()
