"""Whether the cluster knows the kinds that a pipeline makes, and has the runtimes that serve its models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stepworks.errors import NotFoundError
from stepworks.kube.api.discovery import discover
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.preflight.report import Check, fine, missing, unknown
from stepworks.kube.preflight.view import Unseen, View

_API_VERSION = "serving.kserve.io/v1alpha1"
_PROTOCOL = "v1"
"""What KServe takes where a service names no protocol."""


def check_kinds(view: View, objects: Iterable[tuple[str, Manifest]]) -> list[Check]:
    """See whether the cluster serves each kind, in the version that is used.

    Args:
        view: The cluster.
        objects: The objects that are made, each with its step.
    """
    steps: dict[tuple[str, str], list[str]] = {}
    for step, manifest in objects:
        steps.setdefault((manifest["apiVersion"], manifest["kind"]), []).append(step)
    return [_check_kind(view, *kind, list(dict.fromkeys(made_by))) for kind, made_by in steps.items()]


def _check_kind(view: View, api_version: str, kind: str, steps: Sequence[str]) -> Check:
    subject = f"{kind} of {api_version}"
    try:
        discover(view.cluster, api_version, kind)
    except NotFoundError as error:
        served = f"; it serves {error.expected}" if " of " in error.expected else ""
        told = f"the cluster does not know it{served}; it is made by {', '.join(steps)}"
        return missing("kind", subject, told, error.what_to_do)
    return fine("kind", subject, f"the cluster serves it, for {', '.join(steps)}")


def check_runtimes(view: View, objects: Iterable[tuple[str, Manifest]]) -> list[Check]:
    """See whether each InferenceService has a runtime for its format and protocol."""
    checks = []
    for step, manifest in objects:
        if manifest["kind"] == "InferenceService":
            model = manifest["spec"]["predictor"].get("model") or {}
            checks.append(_check_runtime(view, step, model))
    return checks


def _check_runtime(view: View, step: str, model: Mapping[str, Any]) -> Check:
    wanted, protocol = model["modelFormat"]["name"], model.get("protocolVersion") or _PROTOCOL
    named = model.get("runtime") or ""
    subject = f"runtime {named}" if named else f"a runtime for {wanted}"
    found: list[Manifest] = []
    for kind in ("ServingRuntime", "ClusterServingRuntime"):
        some = view.all_of(_API_VERSION, kind)
        if isinstance(some, Unseen):
            return unknown("runtime", subject, some.reason, f"Let whoever checks list {kind.lower()}s.")
        found += some
    serving = [each for each in found if named in ("", each["metadata"]["name"])]
    if not serving:
        there = ", ".join(sorted({each["metadata"]["name"] for each in found})) or "none"
        apply_ours = "kubectl apply -k cluster/serving-runtimes has those of the library; KServe installs the others."
        return missing("runtime", subject, f"it is not there, for {step}; there is {there}", apply_ours)
    if not any(_serves(each, wanted, protocol, chosen=bool(named)) for each in serving):
        told = "; ".join(_told(each) for each in serving) if named else "none takes the format and the protocol"
        what_to_do = "Name a runtime in `service` of the step, or add the format to it."
        return missing("runtime", subject, f"{step} asks for {wanted} by the protocol {protocol}: {told}", what_to_do)
    return fine("runtime", subject, f"it serves {wanted} by the protocol {protocol}, for {step}")


def _serves(runtime: Manifest, wanted: str, protocol: str, *, chosen: bool) -> bool:
    spec = runtime["spec"]
    if spec.get("disabled"):
        return False
    formats = [each for each in spec.get("supportedModelFormats") or [] if chosen or each.get("autoSelect")]
    protocols = spec.get("protocolVersions")  # a runtime that lists none is taken for any
    return wanted in {each["name"] for each in formats} and (not protocols or protocol in protocols)


def _told(runtime: Manifest) -> str:
    spec = runtime["spec"]
    if spec.get("disabled"):
        return "it is disabled"
    return f"it takes {', '.join(_formats(spec))} by {', '.join(spec.get('protocolVersions') or ['any protocol'])}"


def _formats(spec: Mapping[str, Any]) -> Iterator[str]:
    return (each["name"] for each in spec.get("supportedModelFormats") or [])
