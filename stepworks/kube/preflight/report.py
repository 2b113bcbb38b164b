"""What a pre-flight check found, one line a thing, and all of it together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How one thing is, from good to bad."""

    FINE = "fine"
    WAITS = "waits"
    """The pipeline can run, and waits until others end."""
    UNKNOWN = "could not check"
    """It may not be looked at, or only the run knows it."""
    MISSING = "missing"
    """The pipeline would fail, or wait for ever."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        topic: What kind of thing: `nodes`, `quota`, `claim`, `permission`, …
        subject: Which one, or whose: `train`, `Secret registry`.
        state: How it is.
        told: What was found, without a full stop.
        what_to_do: The next action of the reader; empty where there is none.
    """

    topic: str
    subject: str
    state: State
    told: str
    what_to_do: str = ""

    def to_json(self) -> dict[str, str]:
        """The check by the names of its fields, without what is empty."""
        fields = {"topic": self.topic, "subject": self.subject, "state": self.state.value, "told": self.told}
        return fields | ({"what_to_do": self.what_to_do} if self.what_to_do else {})


@dataclass(frozen=True)
class Preflight:
    """Whether a cluster can run a pipeline.

    Attributes:
        namespace: The namespace that was looked at.
        service_account: The ServiceAccount that the run has.
        checks: What was looked at, in the order in which it is told.
    """

    namespace: str
    service_account: str
    checks: tuple[Check, ...]

    def of(self, *states: State) -> tuple[Check, ...]:
        """The checks of some states."""
        return tuple(check for check in self.checks if check.state in states)

    @property
    def can_run(self) -> bool:
        """Whether nothing is missing, as far as could be seen."""
        return not self.of(State.MISSING)

    @property
    def is_fine(self) -> bool:
        """Whether all is as it should be, and was seen."""
        return not self.of(State.MISSING, State.WAITS, State.UNKNOWN)

    @property
    def is_blind(self) -> bool:
        """Whether nothing of the namespace and of the nodes could be seen; which kinds there are, everybody sees."""
        return all(check.state == State.UNKNOWN for check in self.checks if check.topic not in ("kind", "priority"))

    @property
    def summary(self) -> str:
        """All of it in one sentence."""
        counts = {state: len(self.of(state)) for state in State}
        told = [f"{number} {state.value}" for state, number in counts.items() if number]
        verdict = "can run" if self.can_run else "cannot run"
        if self.can_run and counts[State.UNKNOWN]:
            verdict = "can run as far as could be seen"
        return f"The pipeline {verdict} in {self.namespace}: {', '.join(told) or 'nothing to check'}."

    def to_json(self) -> dict[str, Any]:
        """The whole as JSON."""
        return {
            "namespace": self.namespace,
            "service_account": self.service_account,
            "can_run": self.can_run,
            "counts": {state.value: len(self.of(state)) for state in State},
            "checks": [check.to_json() for check in self.checks],
        }


def fine(topic: str, subject: str, told: str) -> Check:
    """A thing as it should be."""
    return Check(topic, subject, State.FINE, told)


def missing(topic: str, subject: str, told: str, what_to_do: str) -> Check:
    """A thing without which the pipeline cannot run."""
    return Check(topic, subject, State.MISSING, told, what_to_do)


def waits(topic: str, subject: str, told: str, what_to_do: str) -> Check:
    """A thing that is there and in use by others."""
    return Check(topic, subject, State.WAITS, told, what_to_do)


def unknown(topic: str, subject: str, told: str, what_to_do: str = "") -> Check:
    """A thing that cannot be seen from here."""
    return Check(topic, subject, State.UNKNOWN, told, what_to_do)
