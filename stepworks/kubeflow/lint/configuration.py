"""The configuration of lint, and baselines: YAML files of one schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, model_validator

from stepworks.errors import ConfigurationError
from stepworks.files import write_atomically
from stepworks.kubeflow.lint.finding import Finding
from stepworks.kubeflow.lint.rule import Limits
from stepworks.kubeflow.lint.rules import all_rules
from stepworks.placement.storage import AccessMode
from stepworks.settings_file import Setting, compose, line_of, read_settings

BASELINE_DAYS = 90
"""For how long a new baseline accepts what it holds."""


def _known_rule(id_: str) -> str:
    if id_ not in all_rules():
        raise ValueError(f"there is no rule {id_}; docs/lint-rules.md has those that there are")
    return id_


RuleId = Annotated[str, AfterValidator(_known_rule)]
"""The id of a rule, `R04`."""


class LintException(Setting):
    """What is accepted, why, and until when. In patterns `*` stands for any characters, `/` among them.

    Attributes:
        rule: The id of the rule.
        task: A pattern of task paths, `for-loop-1/*`; findings of no task match `*` only.
        file: A pattern of files, as they are named on the command line.
        subject: A pattern of what the finding is about, as `--format json` shows it.
        reason: Why it is accepted.
        expires: The last day of the exception.
    """

    rule: RuleId
    task: str = "*"
    file: str = "*"
    subject: str = "*"
    reason: str = Field(pattern=r"\S")
    expires: date

    def accepts(self, finding: Finding) -> bool:
        """Whether a finding is what this is about."""
        return (
            finding.rule == self.rule
            and fnmatchcase(finding.task, self.task)
            and fnmatchcase(finding.file, self.file)
            and fnmatchcase(finding.subject, self.subject)
        )


class Settings(Setting):
    """The content of a configuration file or a baseline.

    Attributes:
        max_gpus: The most accelerators that a pipeline may hold at once.
        loop_items: Up to this many items a loop may start all iterations at once.
        placeholder_registries: Registries that stand for one that is still to be chosen.
        claims: The access mode of each claim.
        severity: Another severity for a rule, or `off`.
        exceptions: What is accepted.
    """

    max_gpus: int | None = Field(default=None, ge=0)
    loop_items: int = Field(default=Limits.loop_items, ge=0)
    placeholder_registries: tuple[str, ...] = Limits.placeholder_registries
    claims: dict[str, AccessMode] = Field(default_factory=dict)
    severity: dict[RuleId, Literal["error", "warning", "info", "off"]] = Field(default_factory=dict)
    exceptions: tuple[LintException, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _take_nothing_as_defaults(cls, content: Any) -> Any:
        """An empty file, or one of comments only, says nothing of its own."""
        return {} if content is None else content


@dataclass(frozen=True)
class PlacedException:
    """An exception, and the file and line where it stands; lines count from 1."""

    exception: LintException
    file: str
    line: int


@dataclass(frozen=True)
class Configuration:
    """What is in force: the settings, and the exceptions of the configuration and the baseline."""

    settings: Settings = field(default_factory=Settings)
    exceptions: tuple[PlacedException, ...] = ()

    def limits(self, max_gpus: int | None) -> Limits:
        """What the rules judge by; a `max_gpus` of the command line goes before the file's."""
        return Limits(
            max_gpus=self.settings.max_gpus if max_gpus is None else max_gpus,
            claims=self.settings.claims,
            loop_items=self.settings.loop_items,
            placeholder_registries=self.settings.placeholder_registries,
        )

    def with_baseline(self, path: Path) -> Configuration:
        """The same with the exceptions of a baseline too.

        Raises:
            NotFoundError: There is no such file.
            ConfigurationError: The baseline cannot be read, a field is wrong, or it has settings beside exceptions.
        """
        baseline = _read(path, "lint baseline")
        if baseline.settings.model_fields_set - {"exceptions"}:
            raise ConfigurationError(
                f"The baseline {path} has settings",
                received=", ".join(sorted(baseline.settings.model_fields_set)),
                expected="exceptions only",
                what_to_do="Move the settings to the configuration file, stepworks.lint.yaml.",
            )
        return replace(self, exceptions=(*self.exceptions, *baseline.exceptions))


def read_configuration(path: Path) -> Configuration:
    """Read a configuration file.

    Raises:
        NotFoundError: There is no such file.
        ConfigurationError: It cannot be read, a field is wrong, or a rule is not known; the message names each line.
    """
    return _read(path, "lint configuration")


def _read(path: Path, kind: str) -> Configuration:
    settings = read_settings(path, Settings, kind, "docs/lint.md")
    root = compose(path) if settings.exceptions else None
    return Configuration(
        settings,
        tuple(
            PlacedException(each, path.as_posix(), line_of(root, ("exceptions", index)))
            for index, each in enumerate(settings.exceptions)
        ),
    )


def write_baseline(path: Path, findings: Sequence[Finding], today: date) -> Path:
    """Write a file that accepts what was found, one exception a finding, for BASELINE_DAYS.

    Raises:
        ResourceError: The file cannot be written.
    """
    entries = [
        {
            "rule": finding.rule,
            "task": escape(finding.task),
            "file": escape(finding.file),
            "subject": escape(finding.subject),
            "reason": f"Found when the baseline was written: {finding.message}",
            "expires": today + timedelta(days=BASELINE_DAYS),
        }
        for finding in findings
    ]
    header = "# What `stepworks lint --baseline` accepts. Mend each and remove it, or say why it stays.\n"
    text = yaml.safe_dump({"exceptions": entries}, sort_keys=False, width=120, allow_unicode=True)
    return write_atomically(path, (header + text).encode())
