"""What the state of an object means for whoever waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stepworks.kube.kinds.manifests import Manifest


@dataclass(frozen=True)
class Pending:
    """Not yet; the reason says what is the case instead."""

    reason: str


@dataclass(frozen=True)
class Succeeded:
    """What was waited for is the case."""

    reason: str = ""


@dataclass(frozen=True)
class Failed:
    """It will never be the case; the reason says why."""

    reason: str


Judgement = Pending | Succeeded | Failed


class Rule(Protocol):
    """Judges an object by its state alone."""

    @property
    def goal(self) -> str:
        """What is waited for, as it goes on after "to be": `complete`."""
        ...

    @property
    def absence_succeeds(self) -> bool:
        """Whether it is success that the object is not there; otherwise it is an error."""
        ...

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge the object as it is now."""
        ...
