"""What a pre-flight check found: whether a cluster can run a pipeline."""

from __future__ import annotations

from typing import Literal

from stepworks.report.document import Fragment, StoredDocument

PreflightState = Literal["fine", "waits", "could not check", "missing"]


class PreflightCheck(Fragment):
    """One thing that was looked at: what kind of thing, which one, how it is, and what to do about it."""

    topic: str
    subject: str
    state: PreflightState
    told: str
    what_to_do: str = ""


class PreflightDocument(StoredDocument):
    """Whether a cluster can run a pipeline (`operations/preflight`)."""

    kind: Literal["preflight"] = "preflight"
    namespace: str
    service_account: str
    can_run: bool
    summary: str
    checks: list[PreflightCheck]
