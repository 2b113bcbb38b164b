"""The backend on a laptop: two model servers behind the local traffic split, all owned by a supervisor."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from stepworks.errors import NotFoundError
from stepworks.report.canary_document import CanaryArm
from stepworks.serving.judging.counts import arm
from stepworks.serving.rollout.backend import Traffic
from stepworks.serving.split_admin import ArmCounts, SplitSettings, change_split, read_split
from stepworks.supervisor.processes import ProcessManager


@dataclass(frozen=True)
class LocalArm:
    """One version: its name, the name of its process, the address of its server, and the package it serves."""

    version: str
    process: str
    url: str
    package: Path


class LocalBackend:
    """Shifts traffic by telling the split.

    Args:
        manager: Owns the processes.
        service: The service's name.
        url: The split's address.
        stable: The version that serves; missing when there is none.
        candidate: The version that is rolled out.
    """

    def __init__(
        self, manager: ProcessManager, service: str, url: str, stable: LocalArm | None, candidate: LocalArm
    ) -> None:
        self.service = service
        self.stable_version = None if stable is None else stable.version
        self.candidate_version = candidate.version
        self._manager = manager
        self._url = url
        self._stable = stable
        self._candidate = candidate

    def set_percent(self, percent: int) -> None:
        """Give the candidate this share of the traffic, and start new counts.

        Raises:
            ServingError: The split does not answer.
        """
        stable = None if self._stable is None else self._stable.url
        change_split(self._url, SplitSettings(stable=stable, candidate=self._candidate.url, percent=percent))

    def observe(self) -> Traffic:
        """What both arms did since the share was last set.

        Raises:
            ServingError: The split does not answer.
        """
        arms = read_split(self._url).arms
        return Traffic(None if self._stable is None else _arm(arms["stable"]), _arm(arms["candidate"]))

    def promote(self) -> None:
        """Make the candidate the stable version of the split. The old one's server stays up.

        Raises:
            ServingError: The split does not answer.
        """
        change_split(self._url, SplitSettings(stable=self._candidate.url))

    def roll_back(self) -> None:
        """Give all traffic to the stable version, and end the candidate's server.

        Raises:
            ServingError: The split does not answer.
            ResourceError: The supervisor does not answer.
        """
        try:
            change_split(self._url, SplitSettings(stable=None if self._stable is None else self._stable.url))
        finally:
            with contextlib.suppress(NotFoundError):  # It was ended before.
                self._manager.stop(self._candidate.process)


def _arm(counts: ArmCounts) -> CanaryArm:
    return arm(requests=counts.requests, errors=counts.errors, latency=counts.latency)
