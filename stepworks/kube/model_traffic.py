"""What serving needs of whatever splits the traffic of a model between its versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stepworks.kube.builders.routes import Routes

APPROVED_ANNOTATION = "stepworks.dev/approved"
"""Written by a person: a version's name and the share of the traffic in percent that it may get, `flights-v2:50`."""


@dataclass(frozen=True)
class Entrance:
    """Where clients send the inference requests of a model, whichever version answers.

    Attributes:
        url: The address, which this process reaches.
        host: What the header `Host` says; empty for the host of the address.
    """

    url: str
    host: str = ""


class ModelTraffic(Protocol):
    """The traffic of one model, which outlives the runs.

    What it splits is known by `Routes`: the names of versions, each with the URL that answers its inference requests.
    Each method may raise ClusterError: the API server refuses, fails or does not answer.
    """

    @property
    def url(self) -> str:
        """The address at which clients reach the model, without a path."""
        ...

    def entrance(self, path: str) -> Entrance:
        """Where clients send inference requests.

        Args:
            path: The path at which every version takes them.
        """
        ...

    def check(self) -> None:
        """Refuse what cannot work, before anything is changed.

        Raises:
            StepworksError: It cannot be split here like this; it says why and what to do.
        """
        ...

    def routes(self) -> Routes | None:
        """Where the traffic goes; None where it goes nowhere yet.

        Raises:
            ConfigurationError: Something else has made an object of the model's name.
        """
        ...

    def approved(self, route: str, percent: int) -> bool:
        """Whether a person has said that a version may get this share of the traffic, or more."""
        ...

    def approval(self, route: str, percent: int) -> str:
        """The command by which a person says so."""
        ...

    def send(self, routes: Routes) -> None:
        """Send the traffic elsewhere, and return when it goes there. Where that fails it goes on as before.

        Args:
            routes: Where it goes from now on.

        Raises:
            ConflictError: Somebody else has sent it elsewhere since the last time; nothing was changed.
            ConfigurationError: It cannot be split like this, or something else has made an object of the model's name.
            AdmissionError: The cluster does not take it.
            WorkloadFailedError: It does not come about; it says why.
        """
        ...

    def drain(self) -> None:
        """Return when no client is answered any more by the routes from before: the versions of them may end."""
        ...

    def end(self) -> None:
        """Send the traffic nowhere: the model has no version any more that may answer.

        Raises:
            ConflictError: Somebody else has sent it elsewhere; it is left as it is.
        """
        ...
