"""Looking at both arms, window by window."""

from __future__ import annotations

from stepworks.kube.api.clock import Clock
from stepworks.report.canary_document import CanaryArm
from stepworks.serving.judging.counts import NOTHING, Window, arm, since
from stepworks.serving.rollout.backend import TrafficBackend
from stepworks.serving.rollout.policy import RolloutPolicy
from stepworks.serving.rollout.probes import Prober, Tally


class Observer:
    """Sends probes through a window and counts what both arms did in it.

    Args:
        backend: Counts the requests.
        policy: How long a window is.
        prober: Sends the probes; None sends none.
        clock: The time.
    """

    def __init__(self, backend: TrafficBackend, policy: RolloutPolicy, prober: Prober | None, clock: Clock) -> None:
        self._backend = backend
        self._policy = policy
        self._prober = prober
        self._clock = clock
        self._seen = 0
        self.begin(0)

    def begin(self, percent: int) -> None:
        """Start a stage, after its share was set: all counts begin at zero."""
        self._percent = percent
        self._tally = Tally()
        self._before: tuple[CanaryArm | None, CanaryArm] = (NOTHING, NOTHING)
        self._probes_before = self._tally.arms
        self._uncounted_before = self._tally.uncounted.copy()

    def window(self) -> Window:
        """Let a window pass, and tell what happened in it.

        Raises:
            StepworksError: What the backend or the prober raises.
        """
        started = self._clock.now()
        self._probe_until(started + self._policy.window_seconds)
        traffic = self._backend.observe()
        probes = self._tally.arms
        probed = {name: since(probes[name], self._probes_before[name]) for name in probes}
        self._probes_before = probes
        unseen = self._tally.uncounted - self._uncounted_before
        self._uncounted_before = self._tally.uncounted.copy()
        stable, candidate = (None if traffic.stable is None else NOTHING), NOTHING
        if not traffic.counted:
            stable, candidate = (None if traffic.stable is None else probed["stable"]), probed["candidate"]
        elif not traffic.problem:
            stable = None if traffic.stable is None else since(traffic.stable, self._before[0] or NOTHING)
            candidate = since(traffic.candidate, self._before[1])
            self._before = (traffic.stable, traffic.candidate)
            stable = None if stable is None else _with_failures(stable, unseen["stable"])
            candidate = _with_failures(candidate, unseen["candidate"])
        self._seen += 1
        return Window(
            percent=self._percent,
            seconds=self._clock.now() - started,
            stable=None if stable is None else _with_probes(stable, probed["stable"], traffic.problem),
            candidate=_with_probes(candidate, probed["candidate"], traffic.problem),
            warm_up=self._seen <= self._policy.warm_up_windows,
            problem=traffic.problem,
            counted=traffic.counted,
        )

    def _probe_until(self, end: float) -> None:
        if self._prober is None:
            self._clock.sleep(max(end - self._clock.now(), 0.0))
            return
        sent = 0
        while not sent or (sent != self._policy.window_probes and self._clock.now() < end):
            self._tally.add(self._prober.send())
            sent += 1
            if self._policy.probe_seconds:
                self._clock.sleep(max(min(self._policy.probe_seconds, end - self._clock.now()), 0.0))


def _with_failures(counted: CanaryArm, failures: int) -> CanaryArm:
    return arm(requests=counted.requests + failures, errors=counted.errors + failures, latency=counted.latency)


def _with_probes(counted: CanaryArm, probed: CanaryArm, problem: str) -> CanaryArm:
    return arm(
        requests=counted.requests,
        errors=probed.errors if problem else counted.errors,
        wrong_answers=probed.wrong_answers,
        probes=probed.probes,
        latency=counted.latency,
    )
