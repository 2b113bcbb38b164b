"""When an object has succeeded and when it has failed, kind by kind.

Success is always something that the object says; that it does not say that it failed is no success.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stepworks.kube.kinds.judgement import Failed, Judgement, Pending, Succeeded
from stepworks.kube.kinds.manifests import Manifest, condition_line, conditions_of, status_of


@dataclass(frozen=True)
class Conditions:
    """Succeeds and fails by conditions of the object's status.

    Attributes:
        goal: What is waited for.
        success: The type of the condition that means success when it is true.
        failure: The type of the condition that means failure when it is true; empty if there is none.
    """

    goal: str
    success: str
    failure: str = ""
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the conditions; of both the failure counts."""
        conditions = conditions_of(manifest)
        if self.failure and _is(conditions, self.failure, "True"):
            return Failed(condition_line(conditions[self.failure]))
        if _is(conditions, self.success, "True"):
            return Succeeded(condition_line(conditions[self.success]))
        true = [condition_line(each) for each in conditions.values() if each.get("status") == "True"]
        return Pending("; ".join(true) or f"no condition {self.success} yet")


@dataclass(frozen=True)
class Phase:
    """Succeeds and fails by `status.phase`.

    Attributes:
        goal: What is waited for.
        success: The phase that means success.
        failure: The phase that means failure.
    """

    goal: str
    success: str
    failure: str
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the phase."""
        status = status_of(manifest)
        phase = status.get("phase") or "no phase yet"
        told = ": ".join(str(each) for each in (phase, status.get("reason"), status.get("message")) if each)
        if phase == self.failure:
            return Failed(told)
        return Succeeded(told) if phase == self.success else Pending(told)


@dataclass(frozen=True)
class PodReady:
    """A pod serves: its condition Ready is true, and it has not ended."""

    goal: ClassVar[str] = "ready"
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the phase and the condition Ready."""
        status, conditions = status_of(manifest), conditions_of(manifest)
        if status.get("phase") in ("Failed", "Succeeded"):
            return Failed(
                ": ".join(str(each) for each in ("the pod ended", status["phase"], status.get("reason")) if each)
            )
        if _is(conditions, "Ready", "True"):
            return Succeeded(condition_line(conditions["Ready"]))
        unmet = [condition_line(each) for each in conditions.values() if each.get("status") != "True"]
        return Pending("; ".join(unmet) or status.get("phase") or "no status yet")


@dataclass(frozen=True)
class RolledOut:
    """Every replica of a Deployment runs the present template and is available.

    A Deployment that exceeded its progress deadline may still come about, when a large image is pulled at last; it is
    pending, and the wait's own timeout decides.

    Attributes:
        annotations: Annotations that the pod template has to have. Whoever changes an InferenceService gives its
            pods a new annotation, and waits for it here: the InferenceService itself says Ready from before.
    """

    annotations: Mapping[str, str] = field(default_factory=dict)
    goal: ClassVar[str] = "rolled out"
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the template, the generation and the counts of replicas."""
        spec, status = manifest.get("spec") or {}, status_of(manifest)
        present = spec.get("template", {}).get("metadata", {}).get("annotations") or {}
        if any(present.get(key) != value for key, value in self.annotations.items()):
            return Pending("its pod template is still the one from before")
        if status.get("observedGeneration", 0) < manifest["metadata"].get("generation", 0):
            return Pending("its controller has not seen the new spec")
        wanted = spec.get("replicas", 1)
        counts = {key: status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")}
        if all(count == wanted for count in counts.values()):
            return Succeeded(f"{wanted} replicas are available")
        unmet = [
            condition_line(each)
            for name, each in conditions_of(manifest).items()
            if each.get("status") == ("True" if name == "ReplicaFailure" else "False")
        ]
        counted = f"of {wanted} replicas {counts['updatedReplicas']} updated, {counts['availableReplicas']} available"
        return Pending("; ".join([counted, *unmet]))


@dataclass(frozen=True)
class InferenceServiceReady:
    """An InferenceService serves the model of its present spec.

    Its `status.observedGeneration` is that of a Deployment or of a Knative Service and says nothing of it. After a
    change of an InferenceService that was there before, wait first for its Deployment to be `RolledOut` with a new
    annotation (Standard mode), or give what it was before the change (Knative mode).

    Attributes:
        before: The InferenceService as it was before the change; None if it is new.
    """

    before: Manifest | None = None
    goal: ClassVar[str] = "ready"
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the model's status, the revisions and the condition Ready."""
        stale = self.before is not None and _generation(self.before) != _generation(manifest)
        model = status_of(manifest).get("modelStatus") or {}
        transition = model.get("transitionStatus")
        if transition in ("BlockedByFailedLoad", "InvalidSpec") and not (stale and model == self._model_before()):
            failure = model.get("lastFailureInfo") or {}
            told = [transition, failure.get("reason"), failure.get("message"), _asked_for(manifest)]
            return Failed(": ".join(str(each) for each in told if each))
        created, ready = _revision(manifest, "latestCreatedRevision"), _revision(manifest, "latestReadyRevision")
        if stale and created and created == _revision(self.before or {}, "latestCreatedRevision"):
            return Pending(f"its newest revision is still {created}, from before")
        if created != ready:
            return Pending(f"its newest revision {created} is not ready; {ready or 'no other'} serves")
        conditions = conditions_of(manifest)
        if _is(conditions, "Stopped", "True"):
            return Failed(condition_line(conditions["Stopped"]))
        if _is(conditions, "Ready", "True"):
            return Succeeded(condition_line(conditions["Ready"]))
        unmet = [
            condition_line(each)
            for name, each in conditions.items()
            if each.get("status") != "True" and name != "Stopped"
        ]
        return Pending("; ".join(unmet) or "no condition Ready yet")

    def _model_before(self) -> dict[str, Any]:
        return status_of(self.before or {}).get("modelStatus") or {}


def _asked_for(service: Manifest) -> str:
    """The runtime and the format of a model, which KServe's message may leave out; empty where none is named."""
    model = (service.get("spec", {}).get("predictor") or {}).get("model") or {}
    asked = {"runtime": model.get("runtime"), "format": (model.get("modelFormat") or {}).get("name")}
    return " and ".join(f"the {what} {name}" for what, name in asked.items() if name)


@dataclass(frozen=True)
class Gone:
    """The object is no longer there."""

    goal: ClassVar[str] = "gone"
    absence_succeeds: ClassVar[bool] = True

    def judge(self, manifest: Manifest) -> Judgement:
        """Say what keeps it."""
        metadata = manifest["metadata"]
        if not metadata.get("deletionTimestamp"):
            return Pending("nobody has deleted it")
        finalizers = ", ".join(metadata.get("finalizers") or [])
        return Pending(f"it is being deleted; its finalizers are {finalizers}" if finalizers else "it is being deleted")


JOB_COMPLETE = Conditions("complete", "Complete", "Failed")
JOB_SET_COMPLETE = Conditions("complete", "Completed", "Failed")
TRAIN_JOB_COMPLETE = Conditions("complete", "Complete", "Failed")
"""Every version of Trainer v2 has these two conditions, and none that says that the job runs."""
TRAINING_OPERATOR_JOB_SUCCEEDED = Conditions("succeeded", "Succeeded", "Failed")
"""PyTorchJob, TFJob and their siblings of the training operator."""
EXPERIMENT_SUCCEEDED = Conditions("finished", "Succeeded", "Failed")
"""Katib's search: it has ended by itself. Whether any trial reported the metric is not said by it."""
POD_SUCCEEDED = Phase("succeeded", "Succeeded", "Failed")
POD_READY = PodReady()
CLAIM_BOUND = Phase("bound", "Bound", "Lost")
DEPLOYMENT_ROLLED_OUT = RolledOut()
INFERENCE_SERVICE_READY = InferenceServiceReady()
INFERENCE_GRAPH_READY = Conditions("ready", "Ready")
"""In Standard mode it says no more than that there is a Deployment, which is to be `RolledOut` besides."""
GONE = Gone()


def _is(conditions: Mapping[str, Mapping[str, Any]], name: str, status: str) -> bool:
    return conditions.get(name, {}).get("status") == status


def _generation(manifest: Manifest) -> Any:
    return manifest["metadata"].get("generation")


def _revision(manifest: Manifest, which: str) -> str:
    components = status_of(manifest).get("components") or {}
    return str((components.get("predictor") or {}).get(which) or "")
