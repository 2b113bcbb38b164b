"""Katib as the API server sees it: its two kinds, and what its controller writes into them.

The controller itself is not to be had as a Go module. This plays the parts of it that others can see: it makes Trials,
the Job of each from the template, and writes conditions, observations and counts.
"""

from __future__ import annotations

import json
from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, get, list_objects
from stepworks.kube.api.pods import read_log
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.kinds.manifests import Manifest
from testbed.bed import Bed
from tests.control_plane.kube.workloads import custom_kind

API_VERSION = "kubeflow.org/v1beta1"
NOW = "2026-11-28T08:00:00Z"


def install(bed: Bed) -> None:
    """Serve Katib's kinds. Its own schemas, too, take any field."""
    names = {"experiments": "Experiment", "trials": "Trial"}
    bed.apply(*(custom_kind(API_VERSION, kind, plural, status=True) for plural, kind in names.items()))
    bed.kubectl("wait", "--for=condition=Established", "crd", *(f"{plural}.kubeflow.org" for plural in names))


class Katib:
    """Plays Katib's controller in one namespace."""

    def __init__(self, bed: Bed, cluster: Cluster) -> None:
        self._bed = bed
        self._cluster = cluster

    def experiments(self) -> list[Manifest]:
        """The Experiments of the namespace."""
        return list_objects(self._cluster, Selection(API_VERSION, "Experiment"))

    def start_trial(self, experiment: Manifest, number: int, **assignments: str) -> str:
        """Make a Trial and its job, as the template says; gives its name."""
        name = f"{experiment['metadata']['name']}-{number}"
        labels = {"katib.kubeflow.org/experiment": experiment["metadata"]["name"]}
        given = [{"name": key, "value": value} for key, value in assignments.items()]
        trial = create(
            self._cluster,
            {
                "apiVersion": API_VERSION,
                "kind": "Trial",
                "metadata": {"name": name, "labels": labels, "ownerReferences": [_owner(experiment)]},
                "spec": {"parameterAssignments": given},
            },
        )
        text = json.dumps(experiment["spec"]["trialTemplate"]["trialSpec"]).replace("${trialSpec.Name}", name)
        for key, value in assignments.items():
            text = text.replace(f"${{trialParameters.{key}}}", value)
        job = json.loads(text)
        job["metadata"] = {"name": name, "labels": labels, "ownerReferences": [_owner(trial)]}
        create(self._cluster, job)
        return name

    def end_trial(self, name: str, condition: str = "Succeeded", **metrics: float) -> None:
        """Write how a Trial ended."""
        found = [
            {"name": key, "min": str(value), "max": str(value), "latest": str(value)} for key, value in metrics.items()
        ]
        status = {"observation": {"metrics": found}, "startTime": NOW, "completionTime": NOW}
        self._write(Reference(API_VERSION, "Trial", name), condition, "Trial" + condition, status)

    def collect(self, name: str, pod: str) -> dict[str, float]:
        """Read what a trial reported as lines `name=value`, as the collector StdOut does; the latest counts."""
        found = (line.partition("=") for line in read_log(self._cluster, pod).splitlines())
        metrics = {key: float(value) for key, equals, value in found if equals and key.isidentifier()}
        self.end_trial(name, **metrics)
        return metrics

    def end_experiment(self, name: str, condition: str, reason: str) -> None:
        """Write how an Experiment ended."""
        self._write(Reference(API_VERSION, "Experiment", name), condition, reason, {"completionTime": NOW})

    def _write(self, reference: Reference, condition: str, reason: str, status: dict[str, Any]) -> None:
        present = get(self._cluster, reference)
        told = {"type": condition, "status": "True", "reason": reason, "message": f"{reference.kind} {condition}"}
        conditions = [*present.get("status", {}).get("conditions", []), told]
        patch = {"status": {**status, "conditions": conditions}}
        self._bed.kubectl(
            "patch", f"{reference.kind.lower()}s.kubeflow.org", reference.name, "-n", self._cluster.namespace,
            "--subresource=status", "--type=merge", "-p", json.dumps(patch),
        )  # fmt: skip


def _owner(manifest: Manifest) -> dict[str, Any]:
    metadata = manifest["metadata"]
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
