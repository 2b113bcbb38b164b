"""The versions of a model as revisions of one InferenceService in Knative mode, which outlives the runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stepworks.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    ObjectFailedError,
    WaitTimeoutError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import delete, find, patch
from stepworks.kube.api.references import Reference, located
from stepworks.kube.builders.revisions import (
    Serving,
    as_before,
    beside_the_stable,
    first_version,
    for_good,
    read_serving,
    with_share,
)
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.diagnosis.obstacle_check import ObstacleCheck
from stepworks.kube.kinds.judgement import Rule
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.merge_patches import merge_patch
from stepworks.kube.kinds.revisions import NewestReady, NewestWithoutTraffic, TrafficShared
from stepworks.kube.kinds.rules import GONE
from stepworks.kube.model_service import READY_SECONDS
from stepworks.kube.model_traffic import another_hand, approval_command, is_approved
from stepworks.kube.runs.adoption import DELETION_SECONDS
from stepworks.kube.runs.belonging import belonging_to
from stepworks.kube.runs.lifetime import SCHEDULING_SECONDS, run_to_end
from stepworks.kube.waiting.wait import wait
from stepworks.placement.names import LONGEST_NAME

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
_NEWEST = "latest"
"""KServe's tag for the newest revision; `prev`, for the one before, is shorter."""
LONGEST_MODEL_NAME = LONGEST_NAME - len(f"{_NEWEST}--predictor")
"""The most characters of a model that is served so."""
_ATTEMPTS = 20
"""How often a write is tried anew because KServe has written the status meanwhile."""


def check_model_name(model: str) -> None:
    """See that the revisions of a model can have addresses of their own, by which a version is asked before it serves.

    Raises:
        ConfigurationError: The name is too long.
    """
    if len(model) > LONGEST_MODEL_NAME:
        tagged = f"{_NEWEST}-{model}-predictor"
        raise ConfigurationError(
            "The model's name is too long for revisions of Knative",
            received=f"{model!r} ({len(model)} characters)",
            expected=f"up to {LONGEST_MODEL_NAME} characters: the newest revision is asked at {tagged}, which has "
            f"{len(tagged)}, and one part of a host name may have {LONGEST_NAME}",
            what_to_do="Give the model a shorter name in the registry, or leave the mode Knative out.",
        )


class ModelRevisions:
    """The revisions of one model, of which the newest may be on trial beside the one before.

    Each change is one write, and returns when KServe says that the traffic goes as it was asked.

    Args:
        cluster: Where.
        model: The model's name, which is the InferenceService's.
        timeout: How long a revision may take to be ready, in seconds.
        scheduling_timeout: How long its pods may wait for room, in seconds.
        say: Is told each line of progress.

    Raises:
        ConfigurationError: The model's name leaves no room for what Knative and KServe put around it.
    """

    def __init__(
        self,
        cluster: Cluster,
        model: str,
        *,
        timeout: float = READY_SECONDS,
        scheduling_timeout: float = SCHEDULING_SECONDS,
        say: Callable[[str], None] = print,
    ) -> None:
        check_model_name(model)
        self._cluster = cluster
        self._timeout = timeout
        self._scheduling_timeout = scheduling_timeout
        self._say = say
        self._reference = located(cluster, Reference(API_VERSION, KIND, model))
        self._knative = located(cluster, Reference("serving.knative.dev/v1", "Service", f"{model}-predictor"))

    @property
    def url(self) -> str:
        """The address at which the model answers within the cluster, whichever version it has."""
        return f"http://{self._knative.name}.{self._knative.namespace}.svc"

    @property
    def candidate_url(self) -> str:
        """The address of the newest revision, whatever its share of the traffic."""
        return self._tagged(_NEWEST)

    @property
    def stable_url(self) -> str:
        """The address of the revision before it, for as long as that has a share of the traffic."""
        return self._tagged("prev")

    def _tagged(self, tag: str) -> str:
        return f"http://{tag}-{self._knative.name}.{self._knative.namespace}.svc"

    def find(self) -> Manifest | None:
        """The InferenceService; None where there is none, or it is being deleted.

        Raises:
            ClusterError: The API server refuses, fails or does not answer.
        """
        present = find(self._cluster, self._reference)
        return None if present is None or present["metadata"].get("deletionTimestamp") else present

    def present(self) -> Manifest:
        """The InferenceService, which has to be there.

        Raises:
            NotFoundError: It is not.
            ClusterError: The API server refuses, fails or does not answer.
        """
        present = self.find()
        if present is None:
            raise NotFoundError(
                f"The {self._reference} is gone",
                expected="the InferenceService that the step deploy has made",
                what_to_do="Deploy the version again.",
            )
        return present

    def serving(self) -> Serving | None:
        """What it is told to serve; None where there is none.

        Raises:
            ConfigurationError: Something else has made an InferenceService of the model's name.
            ClusterError: The API server refuses, fails or does not answer.
        """
        present = self.find()
        return None if present is None else read_serving(present)

    def begin(self, manifest: Manifest, version: str, run: str) -> Manifest:
        """Serve the first version of a model, on trial; it is deleted when it does not become ready.

        Args:
            manifest: As `build_inference_service` builds it, with the model's name.
            version: The version.
            run: The run's id.

        Returns:
            The InferenceService, which is ready.

        Raises:
            StepworksError: As of `run_to_end`.
        """
        return run_to_end(
            self._cluster,
            first_version(manifest, version),
            run=run,
            until=TrafficShared(100),
            timeout=self._timeout,
            scheduling_timeout=self._scheduling_timeout,
            on_failure="delete",
            say=self._say,
        )

    def attempt(self, manifest: Manifest, version: str, run: str) -> Manifest:
        """Put a version on trial beside the one that serves, with no traffic yet, and wait until it is ready.

        One that is on trial already loses its traffic first, and is replaced.

        Args:
            manifest: As `build_inference_service` builds it, with the model's name.
            version: The version.
            run: The run's id.

        Returns:
            The InferenceService.

        Raises:
            ConflictError: Somebody else changes it at the same time.
            AdmissionError: The cluster does not take it.
            WorkloadFailedError: It does not become ready; it says why, and the version before serves as it did.
            ClusterError: The API server refuses, fails or does not answer.
        """
        before = self._settled()
        made = belonging_to(self._cluster, manifest, run)
        self._change(read_serving(before), lambda present: beside_the_stable(present, made, version))
        self._say(f"Version {version} of {self._reference.name} is a revision on trial; it gets no traffic yet.")
        return self.wait()

    def wait(self) -> Manifest:
        """Wait until the traffic goes as it was asked last.

        Raises:
            StepworksError: As of `attempt`.
        """
        return self._wait(_asked(read_serving(self.present())))

    def share(self, version: str, percent: int) -> None:
        """Give the version on trial this share of the traffic, 0 to 100.

        Raises:
            ConflictError: Another version is on trial, or none.
            StepworksError: As of `attempt`.
        """
        present = self._trial_of(version)
        serving = read_serving(present)
        if serving.stable is None:
            return  # it has all traffic: there is no other one
        if serving.percent != percent:
            self._change(serving, lambda found: with_share(found, percent))
            self._say(f"Version {version} of {self._reference.name} gets {percent} % of the traffic.")
        self._wait(_asked(replace(serving, percent=percent)) if percent else NewestWithoutTraffic())

    def keep(self, version: str) -> None:
        """Let the version on trial serve for good, with all of the traffic.

        Raises:
            ConflictError: Another version is on trial, or none.
            StepworksError: As of `attempt`.
        """
        self._wait(_asked(self._change(read_serving(self._trial_of(version)), for_good)))

    def give_back(self, version: str) -> None:
        """End the trial of a version: the one before gets all traffic at once, and is the newest revision again then.

        The first version of a model ends with its InferenceService.

        Raises:
            ConflictError: Another version is on trial, or none.
            StepworksError: As of `attempt`.
        """
        present = self._trial_of(version)
        if read_serving(present).stable is None:
            self.end()
            return
        self._settled()
        self.restore()

    def restore(self) -> None:
        """Bring the end of a trial that was given back to its end, wherever it stopped.

        Raises:
            StepworksError: As of `attempt`.
        """
        serving = read_serving(self.present())
        if serving.percent is None or serving.stable is None:
            return
        if not serving.restoring:
            serving = self._change(serving, as_before)
            self._say(f"Version {serving.version} of {self._reference.name} becomes its newest revision again.")
        self._wait(NewestReady(serving.replaced))
        self._wait(_asked(self._change(serving, for_good)))

    def end(self) -> None:
        """Delete the InferenceService, and return when it is gone.

        Raises:
            ClusterError: The API server refuses, fails or does not answer.
        """
        if delete(self._cluster, self._reference):
            wait(self._cluster, self._reference, until=GONE, timeout=DELETION_SECONDS)

    def approved(self, version: str, percent: int) -> bool:
        """Whether a person has said at the Knative Service that a version may get this share of the traffic, or more.

        Not at the InferenceService, whose annotations make revisions.

        Raises:
            ClusterError: The API server refuses, fails or does not answer.
        """
        return is_approved(find(self._cluster, self._knative), version, percent)

    def approval(self, version: str, percent: int) -> str:
        """The command by which a person says so."""
        return approval_command(self._knative, version, percent)

    def _trial_of(self, version: str) -> Manifest:
        present = self.present()
        serving = read_serving(present)
        if serving.version != version or serving.percent is None:
            expected = f"version {version} on trial"
            raise another_hand(self._reference.name, received=_in_words(serving), expected=expected)
        return present

    def _settled(self) -> Manifest:
        """The InferenceService once its stable version has all traffic; a version on trial loses what it has."""
        serving = read_serving(self.present())
        if serving.percent is None or serving.stable is None:
            self._wait(_asked(serving))
        else:
            if serving.percent:
                self._change(serving, lambda present: with_share(present, 0))
            self._wait(NewestWithoutTraffic())
        return self.present()

    def _change(self, expected: Serving, change: Callable[[Manifest], Manifest]) -> Serving:
        """Change what was read, and nothing that somebody else has made of it since."""
        for _ in range(_ATTEMPTS):
            present = self.present()
            found = read_serving(present)
            if found != expected:
                raise another_hand(self._reference.name, received=_in_words(found), expected=_in_words(expected))
            changes = merge_patch(present, change(present))
            changes.setdefault("metadata", {})["resourceVersion"] = present["metadata"]["resourceVersion"]
            try:
                return read_serving(patch(self._cluster, self._reference, changes))
            except ConflictError:  # the status has been written meanwhile, or else the next look tells
                continue
        raise ConflictError(
            f"The {self._reference} is written all the time",
            received=f"another version of it at each of {_ATTEMPTS} attempts",
            expected="a moment in which it can be changed",
            what_to_do="Look at the controller of KServe; a retry of the step begins where this one stopped.",
        )

    def _wait(self, until: Rule) -> Manifest:
        check = ObstacleCheck(self._cluster, self._reference, self._scheduling_timeout, self._say)
        try:
            return wait(self._cluster, self._reference, until=until, timeout=self._timeout, while_waiting=check)
        except (ObjectFailedError, WaitTimeoutError) as error:
            raise diagnose(self._cluster, self._reference, error).error() from error


def _asked(serving: Serving) -> TrafficShared:
    """What is to come about of what an InferenceService is told."""
    percent = 100 if serving.percent is None else serving.percent
    return TrafficShared(percent, serving.stable.revision if serving.stable else "", serving.replaced)


def _in_words(serving: Serving) -> str:
    if serving.percent is None:
        return f"version {serving.version}, which has all traffic"
    return f"version {serving.version} on trial with {serving.percent} % of the traffic"
