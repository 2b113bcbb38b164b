"""What recorded requests to two versions of a model have shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stepworks.report.document import Fragment, StoredDocument


class ShadowDifference(Fragment):
    """One request, as a text, and how far the answers of both versions are from each other."""

    row: str
    stable: str
    candidate: str
    difference: float


class ShadowDocument(StoredDocument):
    """The answers of two versions to the same requests (`serving/compare_answers`).

    Attributes:
        stable_version: The version that serves; missing where none does, and there is nothing to compare with.
        requests: How many were sent to each.
        compared: How many both answered.
        failed_stable: How many the version that serves did not answer.
        failed_candidate: How many the deployed one did not answer.
        differing: How many of those compared differ by more than `tolerance`.
        allowed_share: Which share of those compared may.
        latency_p50_ms: The median time of an answer, by `stable` and `candidate`.
        latency_p95_ms: Likewise at 95 %.
        largest: Those that differ most, the largest first.
    """

    kind: Literal["shadow"] = "shadow"
    service: str
    stable_version: str | None
    candidate_version: str
    requests: int = 0
    compared: int = 0
    failed_stable: int = 0
    failed_candidate: int = 0
    differing: int = 0
    tolerance: float
    allowed_share: float
    latency_p50_ms: dict[str, float] = Field(default_factory=dict)
    latency_p95_ms: dict[str, float] = Field(default_factory=dict)
    largest: list[ShadowDifference] = Field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether the deployed version answers as the other one does, as far as that is asked for."""
        return self.failed_candidate <= self.failed_stable and self.differing <= self.allowed_share * self.compared

    @property
    def reason(self) -> str:
        """What was found, in a sentence."""
        if self.stable_version is None:
            return "No other version serves: there is nothing to compare with."
        differ = f"{self.differing} of {self.compared} answers differ by more than {self.tolerance:g}"
        failed = f"of {self.requests} requests the deployed version failed {self.failed_candidate}"
        return f"{differ}; {failed}, and the one that serves {self.failed_stable}."
