"""The backend on a cluster: two InferenceServices behind the router of an InferenceGraph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from stepworks.errors import ServingError, StepworksError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.routes import Routes
from stepworks.kube.model_traffic import ModelTraffic
from stepworks.kube.runs.interrupts import Interruption, cleaning_up_at_signals
from stepworks.serving.kserve.counting import ArmCounts
from stepworks.serving.kserve.versions import ServedVersion, Versions
from stepworks.serving.rollout.backend import Traffic, TrafficBackend
from stepworks.serving.rollout.prometheus import PrometheusSource


class ClusterBackend:
    """Shifts traffic by telling the model's router.

    Args:
        cluster: Where.
        model: The model's name.
        traffic: The model's traffic.
        stable: The version that serves; missing when there is none.
        candidate: The version that is rolled out.
        source: Counts the requests of both; without it only the probes are judged.
        versions: The model's versions.
    """

    def __init__(
        self,
        cluster: Cluster,
        model: str,
        traffic: ModelTraffic,
        stable: ServedVersion | None,
        candidate: ServedVersion,
        source: PrometheusSource | None,
        versions: Versions,
    ) -> None:
        self.service = model
        self.stable_version = None if stable is None else stable.version
        self.candidate_version = candidate.version
        self._cluster = cluster
        self._traffic = traffic
        self._stable = stable
        self._candidate = candidate
        self._versions = versions
        self._counts = ArmCounts(cluster, source, None if stable is None else stable.name, candidate.name)

    def set_percent(self, percent: int) -> None:
        """Give the candidate this share of the traffic, and start new counts.

        Raises:
            StepworksError: As of `ModelTraffic.send`.
        """
        self._send(percent)
        self._counts.begin(percent)

    def observe(self) -> Traffic:
        """What both arms did since the share was last set."""
        return self._counts.observe()

    def promote(self) -> None:
        """Give all traffic to the candidate. The old version stays up.

        Raises:
            StepworksError: As of `ModelTraffic.send`.
        """
        self._send(100, trial=False)

    def roll_back(self) -> None:
        """Give all traffic to the stable version, and take the candidate away.

        Raises:
            StepworksError: As of `ModelTraffic.send`. The candidate stays then, which may still get requests.
        """
        self._send(0)
        self._traffic.drain()
        self._versions.end(self._candidate.version)

    def _send(self, percent: int, *, trial: bool = True) -> None:
        stable = None if self._stable is None else self._stable.route
        if self._stable is not None and not self._versions.has(self._stable.version):
            raise ServingError(
                f"Version {self._stable.version} of {self.service} is gone, beside which the candidate was tried",
                received=f"no {self._versions.kind} {self._stable.name}",
                expected="the version that served when the roll-out began",
                what_to_do="Another roll-out has replaced it, or somebody deleted it. The traffic is left as it is; "
                "deploy the candidate again.",
            )
        if stable is None and not percent:
            self._traffic.end()
            return
        name = self._candidate.name if trial and percent else ""
        self._traffic.send(Routes(stable, self._candidate.route, percent, name))


def rolling_back_at_signals(
    backend: TrafficBackend, say: Callable[[str], None]
) -> AbstractContextManager[Interruption]:
    """Roll back when the process is told to end; what fails then is said.

    Args:
        backend: Shifts the traffic.
        say: Is told of trouble.
    """

    def roll_back() -> None:
        try:
            backend.roll_back()
        except StepworksError as trouble:
            say(f"The roll-out could not be rolled back.\n{trouble}")

    return cleaning_up_at_signals(roll_back)
