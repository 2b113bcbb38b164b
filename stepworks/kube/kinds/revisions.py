"""The revisions of an InferenceService in Knative mode, and when the traffic goes to them as it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stepworks.kube.kinds.judgement import Failed, Judgement, Pending, Succeeded
from stepworks.kube.kinds.manifests import Manifest, condition_line, conditions_of, status_of
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
        told = f"the traffic goes {_in_words(revisions)}"
        last = revisions.created if self.percent == 100 else self.stable
        # The newest one is among them for a moment where it had all traffic and gives some back.
        if self.percent < 100 and revisions.rolled_out not in ("", last, revisions.created):
            return Failed(
                f"KServe takes {revisions.rolled_out} for the revision that had all traffic last, instead of {last}, "
                "and gives it what the newest one does not get"
            )
        asked = {revisions.created: self.percent, self.stable: 100 - self.percent}
        if revisions.shares != {name: share for name, share in asked.items() if share}:
            return Pending(told)
        if revisions.rolled_out != last:
            return Pending(f"{told}, and KServe has not noted it")
        return Succeeded(told)


@dataclass(frozen=True)
class NewestReady:
    """A revision that was made by a change is ready, whatever its share of the traffic.

    Attributes:
        replaced: The newest revision of the time before the change.
    """

    replaced: str
    goal: ClassVar[str] = "serving the version before anew"
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the revisions and the condition Ready: what is told of the model may be of the one that failed."""
        revisions = read_revisions(manifest)
        unmet = [condition_line(each) for each in conditions_of(manifest).values() if each.get("status") != "True"]
        if revisions.created == self.replaced:
            return Pending(f"its newest revision is still {revisions.created}")
        if revisions.created == revisions.ready and conditions_of(manifest).get("Ready", {}).get("status") == "True":
            return Succeeded(f"{revisions.created} is ready")
        return Pending("; ".join([f"{revisions.created} is not ready", *unmet]))


@dataclass(frozen=True)
class NewestWithoutTraffic:
    """The newest revision gets no traffic, whether it is ready or not; others get all of it."""

    goal: ClassVar[str] = "serving the version before"
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the shares, and by the condition of the route."""
        revisions = read_revisions(manifest)
        told = f"the traffic goes {_in_words(revisions)}"
        route = conditions_of(manifest).get("PredictorRouteReady", {}).get("status")
        done = revisions.shares and revisions.created not in revisions.shares and route == "True"
        return Succeeded(told) if done else Pending(told)


def _in_words(revisions: Revisions) -> str:
    return ", ".join(f"{share} % to {name}" for name, share in revisions.shares.items()) or "nowhere"
