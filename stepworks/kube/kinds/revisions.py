"""The revisions of an InferenceService in Knative mode, and when the traffic goes to them as it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stepworks.kube.kinds.judgement import Judgement, Pending, Succeeded
from stepworks.kube.kinds.manifests import Manifest, conditions_of, status_of
from stepworks.kube.kinds.rules import INFERENCE_SERVICE_READY


@dataclass(frozen=True)
class Revisions:
    """The revisions of an InferenceService, as KServe tells of them.

    Attributes:
        created: The newest one; empty before there is one.
        ready: The newest one that is ready.
        rolled_out: The one that had all traffic last, which gets what a newer one on trial does not.
        shares: How much of the traffic each gets, in percent.
    """

    created: str
    ready: str
    rolled_out: str
    shares: dict[str, int]


def read_revisions(service: Manifest) -> Revisions:
    """Read what KServe tells of the revisions of an InferenceService."""
    predictor = (status_of(service).get("components") or {}).get("predictor") or {}
    shares: dict[str, int] = {}
    for target in predictor.get("traffic") or []:
        name = str(target.get("revisionName") or "")
        shares[name] = shares.get(name, 0) + int(target.get("percent") or 0)
    return Revisions(
        created=str(predictor.get("latestCreatedRevision") or ""),
        ready=str(predictor.get("latestReadyRevision") or ""),
        rolled_out=str(predictor.get("latestRolledoutRevision") or ""),
        shares={name: share for name, share in shares.items() if share},
    )


@dataclass(frozen=True)
class TrafficShared:
    """The newest revision is ready and gets its share of the traffic, and the one before gets the rest.

    What the InferenceService says from before its change does not pass for it: the revisions and their shares are
    those that were asked for.

    Attributes:
        percent: The share of the newest revision, in percent.
        stable: The revision before it, which gets the rest; empty where there is none.
        replaced: The newest revision of the time before the change, if that makes another one.
    """

    percent: int
    stable: str = ""
    replaced: str = ""
    goal: ClassVar[str] = "serving as asked"
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the condition Ready, the revisions and their shares."""
        revisions = read_revisions(manifest)
        if revisions.created in ("", self.replaced):
            return Pending(f"its newest revision is still {revisions.created}" if revisions.created else "no revision")
        ready = INFERENCE_SERVICE_READY.judge(manifest)
        if not isinstance(ready, Succeeded):
            return ready
        asked = {revisions.created: self.percent, self.stable: 100 - self.percent}
        told = f"the traffic goes {_in_words(revisions)}"
        if revisions.shares != {name: share for name, share in asked.items() if share}:
            return Pending(told)
        if self.percent == 100 and revisions.rolled_out != revisions.created:
            return Pending(f"{told}; KServe would give it back to {revisions.rolled_out}")
        return Succeeded(told)


@dataclass(frozen=True)
class TrafficGivenBack:
    """A revision gets all traffic, whether the newest one is ready or not.

    Attributes:
        stable: The revision.
    """

    stable: str
    goal: ClassVar[str] = "serving the version before"
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the shares, and by the condition of the route."""
        told = f"the traffic goes {_in_words(read_revisions(manifest))}"
        route = conditions_of(manifest).get("PredictorRouteReady", {}).get("status")
        done = read_revisions(manifest).shares == {self.stable: 100} and route == "True"
        return Succeeded(told) if done else Pending(told)


def _in_words(revisions: Revisions) -> str:
    return ", ".join(f"{share} % to {name}" for name, share in revisions.shares.items()) or "nowhere"
