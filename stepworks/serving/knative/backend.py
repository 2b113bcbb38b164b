"""The backend of Knative: two revisions of one InferenceService."""

from __future__ import annotations

from stepworks.kube.model_revisions import ModelRevisions
from stepworks.serving.knative.arms import RevisionArm
from stepworks.serving.kserve.counting import ArmCounts
from stepworks.serving.kserve.probes import VersionProber
from stepworks.serving.rollout.backend import Traffic
from stepworks.serving.rollout.probes import ProbeResult


class RevisionBackend:
    """Shifts traffic by telling KServe the share of the newest revision.

    Args:
        model: The model's name.
        revisions: The model's revisions.
        stable: The version that serves; missing when there is none.
        candidate: The version that is rolled out.
        counts: The requests of both, by revision.
    """

    def __init__(
        self,
        model: str,
        revisions: ModelRevisions,
        stable: RevisionArm | None,
        candidate: RevisionArm,
        counts: ArmCounts,
    ) -> None:
        self.service = model
        self.stable_version = None if stable is None else stable.version
        self.candidate_version = candidate.version
        self.percent = 0
        self._revisions = revisions
        self._stable = stable
        self._candidate = candidate
        self._counts = counts

    def set_percent(self, percent: int) -> None:
        """Give the candidate this share of the traffic, and start new counts.

        A first version cannot stay up without traffic: it ends where it is to have none.

        Raises:
            StepworksError: As of `ModelRevisions.share`.
        """
        self.percent = percent
        if self._stable is None and not percent:
            self._revisions.end()
        else:
            self._revisions.share(self._candidate.version, percent)
        self._counts.begin(percent)

    def observe(self) -> Traffic:
        """What both arms did since the share was last set."""
        return self._counts.observe()

    def promote(self) -> None:
        """Let the candidate serve for good. Knative ends the pods of the version before when they are idle.

        Raises:
            StepworksError: As of `ModelRevisions.keep`.
        """
        self._revisions.keep(self._candidate.version)

    def roll_back(self) -> None:
        """Give all traffic to the stable version, and make it the newest revision again.

        Raises:
            StepworksError: As of `ModelRevisions.give_back`.
        """
        self._revisions.give_back(self._candidate.version)


class RevisionProber:
    """Sends recorded rows to both revisions in turn, or to the newest alone where that has all traffic.

    KServe gives the revision before no address of its own then, and Knative ends its pods.

    Args:
        backend: Knows the shares.
        both: Asks both.
        alone: Asks the newest one.
    """

    def __init__(self, backend: RevisionBackend, both: VersionProber, alone: VersionProber) -> None:
        self._backend = backend
        self._both = both
        self._alone = alone

    def send(self) -> ProbeResult:
        """Send the next row to the next version."""
        return (self._both if self._backend.percent < 100 else self._alone).send()
