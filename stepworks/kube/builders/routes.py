"""Where the traffic of a model goes, whatever splits it."""

from __future__ import annotations

from dataclasses import dataclass

from stepworks.errors import ConfigurationError

TRIAL_ANNOTATION = "stepworks.dev/trial"
"""Names the version that a roll-out tries; without it the versions have their traffic for good."""


@dataclass(frozen=True)
class Route:
    """A version as what splits the traffic knows it: its name, and the URL that answers its inference requests."""

    name: str
    url: str


@dataclass(frozen=True)
class Routes:
    """Where the traffic of a model goes.

    Attributes:
        stable: The version that has what the candidate has not; None where the candidate has all.
        candidate: The version that is tried; None where there is none.
        percent: The candidate's share, 0 to 100.
        trial: The name of the version that a roll-out tries just now; empty when none does.
    """

    stable: Route | None
    candidate: Route | None = None
    percent: int = 0
    trial: str = ""

    @property
    def asked(self) -> tuple[tuple[Route, int], ...]:
        """The versions that get requests, each with its share in percent.

        Raises:
            ConfigurationError: The share is none, or a version is to get requests and is not there.
        """
        shares = ((self.stable, 100 - self.percent), (self.candidate, self.percent))
        asked = tuple((route, share) for route, share in shares if route is not None and share > 0)
        if sum(share for _, share in asked) != 100:
            raise ConfigurationError(
                "The traffic cannot be split like this",
                received=f"{self.percent} % for {self.candidate.name if self.candidate else 'no candidate'}, "
                f"the rest for {self.stable.name if self.stable else 'no stable version'}",
                expected="a share from 0 to 100, and a version for every share that is not 0",
                what_to_do="Give the whole traffic to the one version that there is.",
            )
        return asked
