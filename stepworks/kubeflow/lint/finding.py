"""What a rule finds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is.

    `error`: the run fails, or does other than what was written. `warning`: it may fail or waste, or cannot be
    repeated. `info`: a hint.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for a hint, 2 for an error."""
        return {"info": 0, "warning": 1, "error": 2}[self.value]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a rule found in a file.

    Attributes:
        rule: The id of the rule.
        severity: How bad it is, as the rule or the configuration says.
        file: The file, as it was named.
        line: The line, from 1.
        column: The column, from 1.
        task: The path of the task; empty for what is of no task.
        subject: What it is about within the task, such as an input or an image.
        message: What is there, and what was expected.
        what_to_do: The next action of the reader.
        accepted: Why an exception of the configuration accepts it; empty for what counts.
    """

    rule: str
    severity: Severity
    file: str
    line: int
    column: int
    task: str
    subject: str
    message: str
    what_to_do: str
    accepted: str = ""

    @property
    def fingerprint(self) -> str:
        """A digest of rule, file, task and subject: the same when lines above are added or a text is put better."""
        text = "\n".join((self.rule, self.file, self.task, self.subject))
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
