"""The configuration of lint, and baselines: YAML files of one schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from stepworks.errors import ConfigurationError
from stepworks.files import write_atomically
from stepworks.kubeflow.ir.located import LocatedMap, Position, parse_documents, position_of, read_text, refuse
from stepworks.kubeflow.lint.finding import Finding
from stepworks.kubeflow.lint.rule import Limits
from stepworks.kubeflow.lint.rules import all_rules
from stepworks.placement.storage import AccessMode
from stepworks.settings_file import LOCATED_FAULT, Setting

BASELINE_DAYS = 90
"""For how long a new baseline accepts what it holds."""


class Exemption(Setting):
    """What is accepted, why, and until when. In patterns `*` stands for any characters, `/` among them.

    Attributes:
        rule: The id of the rule.
        task: A pattern of task paths, `for-loop-1/*`; findings of no task match `*` only.
        file: A pattern of files, as they are named on the command line.
        subject: A pattern of what the finding is about, as `--format json` shows it.
        reason: Why it is accepted.
        expires: The last day of the exception.
    """

    rule: str
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
    severity: dict[str, Literal["error", "warning", "info", "off"]] = Field(default_factory=dict)
    exceptions: tuple[Exemption, ...] = ()


@dataclass(frozen=True)
class PlacedExemption:
    """An exception, and where it stands."""

    exemption: Exemption
    file: str
    position: Position


@dataclass(frozen=True)
class Configuration:
    """What is in force: the settings, and the exceptions of the configuration and the baseline."""

    settings: Settings = field(default_factory=Settings)
    exemptions: tuple[PlacedExemption, ...] = ()

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
            ConfigurationError: The baseline cannot be read, or has settings beside exceptions.
        """
        baseline = read_configuration(path)
        if baseline.settings.model_fields_set - {"exceptions"}:
            raise ConfigurationError(
                f"The baseline {path} has settings",
                received=", ".join(sorted(baseline.settings.model_fields_set)),
                expected="exceptions only",
                what_to_do="Move the settings to the configuration file, stepworks.lint.yaml.",
            )
        return replace(self, exemptions=(*self.exemptions, *baseline.exemptions))


def read_configuration(path: Path) -> Configuration:
    """Read a configuration file or a baseline.

    Raises:
        ConfigurationError: It cannot be read, a field is wrong, or a rule is not known; the message names the line.
    """
    documents = [each for each in parse_documents(read_text(path), path) if each.value is not None]
    raw = documents[0].value if documents else LocatedMap()
    if len(documents) > 1 or not isinstance(raw, LocatedMap):
        _refuse(path, (1, 1), f"{len(documents)} documents or no mapping", "one mapping")
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        fault = error.errors()[0]
        at = (*fault["loc"], *(fault["ctx"]["at"] if fault["type"] == LOCATED_FAULT else ()))
        received = f"{'.'.join(map(str, at))}: {fault['msg']}"
        _refuse(path, position_of(raw, at), received, "the fields that docs/lint.md describes")
    named = [(each.rule, ("exceptions", index, "rule")) for index, each in enumerate(settings.exceptions)]
    for id_, location in [*named, *((id_, ("severity", id_)) for id_ in settings.severity)]:
        if id_ not in all_rules():
            _refuse(path, position_of(raw, location), f"the rule {id_}", "a rule of docs/lint-rules.md")
    return Configuration(
        settings,
        tuple(
            PlacedExemption(each, path.as_posix(), position_of(raw, ("exceptions", index)))
            for index, each in enumerate(settings.exceptions)
        ),
    )


def _refuse(path: Path, position: Position, received: str, expected: str) -> None:
    do = "Correct the file."
    refuse(path, position, "the configuration of lint is wrong", received=received, expected=expected, do=do)


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
