"""What serving needs of whatever splits the traffic of a model between its versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stepworks.errors import ConflictError
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.routes import Routes
from stepworks.kube.kinds.manifests import Manifest, annotations_of

APPROVED_ANNOTATION = "stepworks.dev/approved"
"""Written by a person: a version's name and the share of the traffic in percent that it may get, `flights-v2:50`."""


def is_approved(present: Manifest | None, name: str, percent: int) -> bool:
    """Whether a person has said at an object that a version may get this share of the traffic, or more."""
    named, _, share = annotations_of(present or {}).get(APPROVED_ANNOTATION, "").rpartition(":")
    return named == name and share.isdecimal() and int(share) >= percent


def approval_command(reference: Reference, name: str, percent: int) -> str:
    """The command by which a person says so."""
    return f"{reference.kubectl('annotate')} --overwrite {APPROVED_ANNOTATION}={name}:{percent}"


def told_routes(routes: Routes) -> str:
    """Where traffic goes, as progress says it."""
    return "; ".join(f"{route.name} gets {share} % of the traffic" for route, share in routes.asked) + "."


def another_hand(model: str, *, received: str, expected: str) -> ConflictError:
    """The error that somebody else has changed the traffic of a model since it was changed here."""
    return ConflictError(
        f"Somebody else has changed the traffic of {model}",
        received=received,
        expected=expected,
        what_to_do="Let one roll-out of a model end before the next begins. This one leaves the traffic as it is.",
    )


def refuse_another_hand(model: str, present: Routes | None, sent: Routes | None) -> None:
    """Refuse to change traffic that goes elsewhere than where it was sent last.

    Args:
        model: The model's name.
        present: Where it goes; None for nowhere.
        sent: Where it was sent last from here; None where it was not yet.

    Raises:
        ConflictError: Somebody else has changed it.
    """
    if sent is None or present == sent:
        return
    goes = "nowhere" if present is None else _shares(present)
    raise another_hand(model, received=f"traffic that goes {goes}", expected=_shares(sent))


def _shares(routes: Routes) -> str:
    return ", ".join(f"{share} % to {route.name}" for route, share in routes.asked)


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
