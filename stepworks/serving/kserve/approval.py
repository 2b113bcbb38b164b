"""A person's yes to a larger share of the traffic, given at the router of a model."""

from __future__ import annotations

from typing import Protocol


class Approved(Protocol):
    """What a person's yes is written at."""

    def approved(self, name: str, percent: int, /) -> bool:
        """Whether a person has said that a version may get this share of the traffic, or more."""
        ...

    def approval(self, name: str, percent: int, /) -> str:
        """The command by which a person says so."""
        ...


class TrafficApproval:
    """Is given by an annotation of what splits the model's traffic, which names the version: it is none of another one.

    Args:
        traffic: The model's traffic: `ModelTraffic`, or `ModelRevisions`.
        candidate: By what name that knows the candidate.
    """

    def __init__(self, traffic: Approved, candidate: str) -> None:
        self._traffic = traffic
        self._candidate = candidate

    def request(self, percent: int) -> str:
        """What to do in order to say yes to a share, in a sentence."""
        return f"Say it by: {self._traffic.approval(self._candidate, percent)}"

    def given(self, percent: int) -> bool:
        """Whether a person has said yes to this share, or to a larger one.

        Raises:
            ClusterError: The API server refuses, fails or does not answer.
        """
        return self._traffic.approved(self._candidate, percent)
