"""What a roll-out needs of the place where it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stepworks.report.canary_document import CanaryArm


@dataclass(frozen=True)
class Traffic:
    """What both arms did since the share was last set. `wrong_answers` is zero: traffic alone cannot tell.

    Attributes:
        stable: What the stable version did; missing when there is none.
        candidate: What the candidate did. Latency is judged by its histogram, whose buckets both arms share.
        counted: Whether requests are counted at all. Where they are not, the probes are all that is judged.
        problem: Why the counts cannot be read now, in a sentence; empty when they can. Both arms are ignored then.
    """

    stable: CanaryArm | None
    candidate: CanaryArm
    counted: bool = True
    problem: str = ""


class Approval(Protocol):
    """A person who is asked before the candidate gets more traffic."""

    def request(self, percent: int) -> str:
        """What to do in order to say yes to a share, in a sentence."""
        ...

    def given(self, percent: int) -> bool:
        """Whether a person has said yes to this share, or to a larger one, of this candidate."""
        ...


class TrafficBackend(Protocol):
    """Shifts the traffic of one service between its stable version and a candidate."""

    @property
    def service(self) -> str:
        """The service's name."""
        ...

    @property
    def stable_version(self) -> str | None:
        """The version that serves now; missing when there is none."""
        ...

    @property
    def candidate_version(self) -> str:
        """The version that is rolled out."""
        ...

    def set_percent(self, percent: int) -> None:
        """Give the candidate this share of the traffic, and start new counts."""
        ...

    def observe(self) -> Traffic:
        """What both arms did since the share was last set."""
        ...

    def promote(self) -> None:
        """Make the candidate the stable version. The old one stays up, so that all can still be rolled back."""
        ...

    def roll_back(self) -> None:
        """Give all traffic to the stable version, and end the candidate. It may be called at any time."""
        ...
