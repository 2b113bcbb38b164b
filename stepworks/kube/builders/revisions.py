"""An InferenceService in Knative mode that serves the versions of a model one after the other.

Each change of its predictor is a new revision. KServe gives the newest one `canaryTrafficPercent` of the traffic, and
the rest to the one that had all of it last; without the field the newest one gets all. The field stands as long as a
version is on trial, so that an InferenceService says by itself whether one is.

What else is to be known of the versions stands in annotations. KServe hands these down to the revision, so a change of
one alone would make another revision: they change with the predictor, and with nothing else.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from stepworks.errors import ConfigurationError
from stepworks.kube.api.references import reference_to
from stepworks.kube.kinds.manifests import Manifest, annotations_of, labels_of
from stepworks.kube.kinds.revisions import read_revisions

VERSION_ANNOTATION = "stepworks.dev/version"
"""The version of the model that the predictor serves."""
STABLE_ANNOTATION = "stepworks.dev/stable"
"""Holds the version beside which it is tried, with all that it takes to serve that one again."""
REPLACED_ANNOTATION = "stepworks.dev/replaced"
"""The newest revision of the time before the last change of the predictor: what KServe says of it is from before."""
TAG_ROUTING_ANNOTATION = "serving.kserve.io/enable-tag-routing"
"""Gives the newest revision an address of its own, whatever its share of the traffic."""
_MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
_PERCENT = "canaryTrafficPercent"


class Stable(BaseModel):
    """The version beside which another is tried.

    Attributes:
        version: The version of the model.
        revision: The revision that serves it.
        predictor: The predictor that it was made from.
        annotations: The annotations that the InferenceService had with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    revision: str
    predictor: dict[str, Any]
    annotations: dict[str, str]


@dataclass(frozen=True)
class Serving:
    """What an InferenceService in Knative mode is told to serve.

    Attributes:
        version: The version of the model that its newest revision serves.
        percent: The share of the traffic of a version that is on trial; None where it serves for good.
        stable: The version before it, which gets the rest; None for the first version.
        replaced: The newest revision of the time before this version's; empty for the first version.
    """

    version: str
    percent: int | None
    stable: Stable | None = None
    replaced: str = ""

    @property
    def restoring(self) -> bool:
        """Whether the version before is being made the newest revision again, after a roll-back."""
        return self.percent is not None and self.stable is not None and self.stable.version == self.version


def read_serving(service: Manifest) -> Serving:
    """Read what an InferenceService that was built here is told to serve.

    Raises:
        ConfigurationError: Something else has made it, or has changed what was noted.
    """
    annotations = annotations_of(service)
    version, noted = annotations.get(VERSION_ANNOTATION), annotations.get(STABLE_ANNOTATION)
    percent = service["spec"]["predictor"].get(_PERCENT)
    problem = "" if version else f"no annotation {VERSION_ANNOTATION}"
    if (mode := annotations.get(_MODE_ANNOTATION)) != "Knative":
        problem = f"one in the mode {mode or 'of the cluster'}, in which KServe may ignore {_PERCENT}"
    stable = None
    if noted is not None:
        try:
            stable = Stable.model_validate_json(noted)
        except ValidationError as error:
            problem = f"{STABLE_ANNOTATION}: {error}"
    if problem or not version:
        reference = reference_to(service)
        raise ConfigurationError(
            f"The {reference} was not made by Stepworks in the mode Knative",
            received=problem,
            expected="none of that name, or one that the step deploy made with the mode Knative",
            what_to_do="Serve the model under another name; or, if nobody calls this one any more, delete it.",
        )
    return Serving(version, percent, stable, annotations.get(REPLACED_ANNOTATION, ""))


def first_version(manifest: Manifest, version: str) -> Manifest:
    """The InferenceService of a model's first version, on trial: it has all traffic, since there is no other one.

    Args:
        manifest: As `build_inference_service` builds it, named after the model.
        version: The version of the model.
    """
    made = copy.deepcopy(manifest)
    made["metadata"]["annotations"] = {**annotations_of(manifest), **_told(version)}
    made["spec"]["predictor"][_PERCENT] = 100
    return made


def beside_the_stable(present: Manifest, manifest: Manifest, version: str) -> Manifest:
    """The InferenceService with another version on trial, which has no traffic yet.

    Args:
        present: The InferenceService as it is, which serves a version for good; or has another one on trial, which
            has no traffic any more.
        manifest: That of the new version, as `build_inference_service` builds it.
        version: The new version of the model.
    """
    before = read_serving(present)
    stable = before.stable if before.percent is not None and before.stable else _as_stable(present, before.version)
    changed = copy.deepcopy(present)
    kept = {name: value for name, value in annotations_of(present).items() if name != STABLE_ANNOTATION}
    told = {**annotations_of(manifest), **_told(version), **_replacing(present)}
    told[STABLE_ANNOTATION] = stable.model_dump_json()
    changed["metadata"]["annotations"] = {**kept, **told}
    changed["metadata"]["labels"] = {**labels_of(present), **labels_of(manifest)}
    changed["spec"] = {**manifest["spec"], "predictor": {**manifest["spec"]["predictor"], _PERCENT: 0}}
    return changed


def with_share(present: Manifest, percent: int) -> Manifest:
    """The InferenceService with this share of the traffic, 0 to 100, for the version on trial."""
    changed = copy.deepcopy(present)
    changed["spec"]["predictor"][_PERCENT] = percent
    return changed


def for_good(present: Manifest) -> Manifest:
    """The InferenceService with all traffic for its newest version, which is on trial no more."""
    changed = copy.deepcopy(present)
    changed["spec"]["predictor"].pop(_PERCENT, None)
    return changed


def as_before(present: Manifest) -> Manifest:
    """The InferenceService with the predictor of the stable version again, as a revision that has no traffic yet.

    The traffic alone would not do: what is deployed next would bring the version back that failed.

    Raises:
        ConfigurationError: There is no stable version beside the one on trial.
    """
    stable = read_serving(present).stable
    if stable is None:
        raise ConfigurationError(
            f"The {reference_to(present)} has no version to go back to",
            received=f"no annotation {STABLE_ANNOTATION}",
            expected="a version that served before the one on trial",
        )
    changed = copy.deepcopy(present)
    changed["spec"]["predictor"] = {**stable.predictor, _PERCENT: 0}
    changed["metadata"]["annotations"] = {
        **annotations_of(present),
        **stable.annotations,
        **_told(stable.version),
        **_replacing(present),
    }
    return changed


def _told(version: str) -> dict[str, str]:
    return {VERSION_ANNOTATION: version, TAG_ROUTING_ANNOTATION: "true"}


def _replacing(present: Manifest) -> dict[str, str]:
    return {REPLACED_ANNOTATION: read_revisions(present).created}


def _as_stable(present: Manifest, version: str) -> Stable:
    predictor = {name: value for name, value in present["spec"]["predictor"].items() if name != _PERCENT}
    annotations = {name: value for name, value in annotations_of(present).items() if name != STABLE_ANNOTATION}
    return Stable(
        version=version,
        revision=read_revisions(present).created,
        predictor=copy.deepcopy(predictor),
        annotations=annotations,
    )
