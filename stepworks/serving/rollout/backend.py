"""What a roll-out needs of the place where it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stepworks.report.documents import CanaryArm


@dataclass(frozen=True)
class Traffic:
    """What both arms did since the share was last set. `wrong_answers` is zero: traffic alone cannot tell."""

    stable: CanaryArm | None
    candidate: CanaryArm


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
