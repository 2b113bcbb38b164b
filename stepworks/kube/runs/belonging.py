"""What belongs to a run: the label and the owner of what it made, and finding all of it again.

What a run makes carries the run's id under the label `stepworks.dev/run`. The exit step deletes by that label, so that
nothing is left whichever step failed, and a retried step knows its own object from another's. Where the run's Argo
Workflow can be read it owns the object too, and whoever deletes the run deletes what it made.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from stepworks.errors import AccessDeniedError, AlreadyExistsError, ConfigurationError, NotFoundError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import is_served
from stepworks.kube.api.objects import list_objects
from stepworks.kube.api.references import Selection, located, reference_to
from stepworks.kube.kinds.manifests import Manifest, annotations_of, labels_of
from stepworks.placement.names import check_label_value

RUN_LABEL = "stepworks.dev/run"
"""Holds the id of the run that made an object."""
KEEP_LABEL = "stepworks.dev/keep"
"""With the value `true` an object outlives its run: a model server that goes on serving."""
SPEC_ANNOTATION = "stepworks.dev/spec-hash"
"""Tells whether an object was made from the same manifest."""
_WORKFLOW = ("argoproj.io/v1alpha1", "Workflow")
_WORKFLOW_LABEL = "pipeline/runid"  # set by the API server of Kubeflow Pipelines


def check_run(run: str) -> str:
    """Return a run's id, which can be a label's value and is not empty.

    Raises:
        ConfigurationError: It cannot.
    """
    try:
        if check_label_value(run):
            return run
        told = "it is empty, and would stand for every run"
    except ValueError as error:
        told = str(error)
    raise ConfigurationError(
        "The id of the run cannot be used",
        received=f"{run!r}: {told}",
        expected="up to 63 letters, digits, dashes, dots and underscores",
        what_to_do="In a pipeline, give run=dsl.PIPELINE_JOB_ID_PLACEHOLDER.",
    )


def belonging_to(cluster: Cluster, manifest: Manifest, run: str) -> Manifest:
    """A manifest with its namespace, the run's label, the hash of what it was made from, and the Workflow as its owner.

    Without the permission to list Workflows, and where there is none of the run, it has no owner; the exit step still
    finds it by its label. What outlives its run (`KEEP_LABEL`) has none either.

    Args:
        cluster: Where.
        manifest: The object.
        run: The run's id.

    Raises:
        ConfigurationError: The id of the run cannot be a label's value, or a name is not valid.
        NotFoundError: The cluster does not serve the kind.
        ClusterError: The API server fails or does not answer.
    """
    made = copy.deepcopy(manifest)
    metadata = made["metadata"]
    metadata["labels"] = {**labels_of(manifest), RUN_LABEL: check_run(run)}
    if namespace := located(cluster, reference_to(manifest)).namespace:
        metadata["namespace"] = namespace
    metadata["annotations"] = {**annotations_of(manifest), SPEC_ANNOTATION: spec_hash(manifest)}
    keeps = metadata["labels"].get(KEEP_LABEL) == "true"
    if not keeps and not metadata.get("ownerReferences") and (owner := _workflow(cluster, run)):
        metadata["ownerReferences"] = [owner]
    return made


def spec_hash(manifest: Mapping[str, Any]) -> str:
    """A hash of a manifest, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def run_of(manifest: Mapping[str, Any]) -> str:
    """The id of the run that made an object; empty if none did."""
    return labels_of(manifest).get(RUN_LABEL) or ""


def is_of_run(manifest: Mapping[str, Any], run: str) -> bool:
    """Whether a step of a run made an object.

    The label alone does not tell: a Job without labels gets those of its pods, and they may be copied from another's.
    """
    return run_of(manifest) == run and SPEC_ANNOTATION in annotations_of(manifest)


def refuse_unless_of_run(present: Manifest, run: str) -> None:
    """Refuse an object that another run, or somebody else, made under the same name.

    Args:
        present: The object that is there.
        run: The run's id.

    Raises:
        AlreadyExistsError: It is not of this run.
    """
    if is_of_run(present, run):
        return
    owner = run_of(present)
    reference = reference_to(present)
    if owner == run:
        told = f"one with the label of the run and without the annotation {SPEC_ANNOTATION}, made by somebody else"
    elif owner:
        told = f"of the run {owner}"
    else:
        told = f"one without the label {RUN_LABEL}, made by somebody else"
    raise AlreadyExistsError(
        f"The {reference} is there already",
        received=told,
        expected=f"no {reference.kind} of that name, or the one that an earlier attempt of this step made",
        what_to_do=f"Choose another name, or see whose it is: {reference.kubectl('describe')}",
    )


def find_of_run(cluster: Cluster, api_version: str, kind: str, run: str) -> list[Manifest]:
    """The objects of a kind that a run made and that do not outlive it, sorted by their names.

    A kind that the cluster does not serve has none.

    Raises:
        ConfigurationError: The id of the run is empty, or cannot be a label's value.
        AccessDeniedError: Listing the kind is not permitted.
        ClusterError: The API server fails or does not answer.
    """
    label = f"{RUN_LABEL}={check_run(run)}"
    if not is_served(cluster, api_version, kind):
        return []
    found = list_objects(cluster, Selection(api_version, kind, labels=label))
    going = [each for each in found if labels_of(each).get(KEEP_LABEL) != "true"]
    return sorted(going, key=lambda each: str(each["metadata"]["name"]))


def _workflow(cluster: Cluster, run: str) -> Manifest | None:
    """The owner reference to the run's Workflow. It does not block the Workflow's deletion: that needs a permission."""
    api_version, kind = _WORKFLOW
    if not is_served(cluster, api_version, kind):
        return None
    try:
        found = list_objects(cluster, Selection(api_version, kind, labels=f"{_WORKFLOW_LABEL}={run}"))
    except (AccessDeniedError, NotFoundError):
        return None
    if len(found) != 1:
        return None
    metadata = found[0]["metadata"]
    return {"apiVersion": api_version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}
