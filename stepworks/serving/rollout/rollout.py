"""The course of a roll-out: window by window, stage by stage, back at the first proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Literal

from stepworks.errors import StepworksError
from stepworks.kube.api.clock import Clock, SystemClock
from stepworks.report.canary_document import (
    CanaryArm,
    CanaryDecision,
    CanaryDocument,
    CanaryStage,
    CanaryWindow,
)
from stepworks.serving.judging.counts import Window, together
from stepworks.serving.judging.forecast import Expectation, forecast
from stepworks.serving.judging.guards import stale_seconds
from stepworks.serving.judging.verdict import Goal, Judgement, judge
from stepworks.serving.rollout.backend import Approval, TrafficBackend
from stepworks.serving.rollout.policy import RolloutPolicy
from stepworks.serving.rollout.probes import Prober
from stepworks.serving.rollout.windows import Observer

_UNDECIDED = {"insufficient_data", "stale"}


def roll_out(
    backend: TrafficBackend,
    policy: RolloutPolicy,
    prober: Prober | None,
    *,
    approval: Approval | None = None,
    rehearsal: bool = False,
    clock: Clock | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> CanaryDocument:
    """Roll a candidate out, or back.

    A first version, with no stable one beside it, has one stage at 100 %. A roll-out that is held gives the stable
    version all traffic again, and the candidate stays up. Any exception, Ctrl-C included, rolls back before it goes on.

    Args:
        backend: Shifts the traffic.
        policy: The stages, and what the judge allows.
        prober: Sends the requests of which the right answers are known; None sends none.
        approval: Is asked where the policy wants it; None where there is nobody to ask, and nobody is asked.
        rehearsal: Whether the candidate is broken on purpose; only noted in the document.
        clock: The time; that of this machine by default.
        tell: Is told of every stage, before it begins, whether the expected traffic is enough, and later what was
            decided.

    Returns:
        The roll-out's course and outcome.

    Raises:
        StepworksError: What the backend or the prober raises; the roll-out has been rolled back then.
    """
    goals = policy.goals(stable=backend.stable_version is not None)
    told = _forecast(policy, goals) if backend.stable_version is not None else []
    for line in told:
        tell(line)
    try:
        observer = Observer(backend, policy, prober, clock or SystemClock())
        stages = _run_stages(backend, observer, goals, policy, approval, tell)
        outcome = _act(backend, stages[-1])
    except BaseException as error:
        try:
            backend.roll_back()
        except StepworksError as failure:
            error.add_note(f"Rolling back failed too: {failure}")
        raise
    return CanaryDocument(
        service=backend.service,
        stable_version=backend.stable_version,
        candidate_version=backend.candidate_version,
        rehearsal=rehearsal,
        forecast=told,
        stages=stages,
        outcome=outcome,
        reason=stages[-1].reason,
    )


def _forecast(policy: RolloutPolicy, goals: dict[int, Goal]) -> list[str]:
    """Whether the expected traffic is enough, a stage a line; nothing where none is stated."""
    if policy.requests_per_second is None:
        return []
    probes = 1 / policy.probe_seconds if policy.probe_seconds else policy.requests_per_second
    expected = Expectation(policy.requests_per_second, min(probes, policy.requests_per_second))
    return [stage.statement for stage in forecast(goals, expected, policy.stage_seconds, policy.judge)]


def _act(backend: TrafficBackend, stage: CanaryStage) -> Literal["promoted", "rolled_back", "held"]:
    match stage.decision:
        case "promote":
            backend.promote()
            return "promoted"
        case "roll_back":
            backend.roll_back()
            return "rolled_back"
        case _:
            backend.set_percent(0)
            return "held"


def _run_stages(
    backend: TrafficBackend,
    observer: Observer,
    goals: dict[int, Goal],
    policy: RolloutPolicy,
    approval: Approval | None,
    tell: Callable[[str], None],
) -> list[CanaryStage]:
    """Run stage after stage until one does not end well, or none is left."""
    stages: list[CanaryStage] = []
    windows: list[Window] = []
    for (percent, goal), following in zip_longest(goals.items(), list(goals)[1:]):
        backend.set_percent(percent)
        observer.begin(percent)
        asked = approval if following in policy.approvals else None
        stages.append(_run_stage(observer, windows, goal, policy, _Gate(asked, following or 100, policy, tell)))
        tell(f"At {percent} % of the traffic: {stages[-1].decision.replace('_', ' ')}. {stages[-1].reason}")
        if stages[-1].decision != "continue":
            break
    return stages


class _Gate:
    """What keeps a stage that has ended well from the next one until a person says yes."""

    def __init__(
        self, approval: Approval | None, percent: int, policy: RolloutPolicy, tell: Callable[[str], None]
    ) -> None:
        self._approval = approval
        self._percent = percent
        self._policy = policy
        self._tell = tell
        self._waited: float | None = None

    def passed(self, judgement: Judgement, seconds: float) -> Judgement | None:
        """What the stage ends with; None while it is to go on.

        Args:
            judgement: What the judge has decided.
            seconds: How long the window was after which it did.
        """
        if judgement.decision != "continue" or self._approval is None or self._approval.given(self._percent):
            return judgement
        if self._waited is None:
            self._waited = 0.0
            self._tell(
                f"Waiting for a yes to {self._percent} % of the traffic. {self._approval.request(self._percent)}"
            )
        else:
            self._waited += seconds
        if self._waited < self._policy.approval_seconds:
            return None
        told = f"Nobody has said yes to {self._percent} % of the traffic for {self._policy.approval_seconds:g} s."
        return Judgement("not_approved", f"{judgement.reason} {told}", judgement.evidence)


def _run_stage(
    observer: Observer, windows: list[Window], goal: Goal, policy: RolloutPolicy, gate: _Gate
) -> CanaryStage:
    """Look at window after window until the stage is decided; `windows` are those of all stages and grow."""
    first = len(windows)
    looked: list[CanaryWindow] = []
    while True:
        windows.append(observer.window())
        judgement = judge(windows, goal, policy.judge)
        looked.append(
            CanaryWindow(seconds=windows[-1].seconds, evidence=list(judgement.evidence), note=_note(windows[-1]))
        )
        limit = _limit(windows[first:], policy)
        if limit and judgement.decision in _UNDECIDED:
            judgement = _at_limit(judgement, limit, goal, policy)
            break
        if judgement.decision not in _UNDECIDED and (passed := gate.passed(judgement, windows[-1].seconds)):
            judgement = passed
            break
    own = windows[first:]
    return CanaryStage(
        percent=own[-1].percent,
        stable=None if own[-1].stable is None else _whole((each.stable, each.problem) for each in own),
        candidate=_whole((each.candidate, each.problem) for each in own),
        decision=judgement.decision,
        reason=judgement.reason,
        seconds=sum(window.seconds for window in own),
        windows=looked,
    )


def _limit(stage: Sequence[Window], policy: RolloutPolicy) -> Literal["", "stage", "stale"]:
    """Which of the times that a stage may take is over."""
    if stale_seconds(stage) > policy.stale_seconds:
        return "stale"
    # Time without new counts is none in which the stage could have ended.
    counted = sum(window.seconds for window in stage if not window.is_stale)
    return "stage" if counted > policy.stage_seconds else ""


def _at_limit(judgement: Judgement, limit: Literal["stage", "stale"], goal: Goal, policy: RolloutPolicy) -> Judgement:
    """What becomes of an undecided stage whose time is over."""
    if limit == "stale":
        told, rule = f"without new counts for {policy.stale_seconds:g} s", str(policy.on_stale)
    else:
        told, rule = f"undecided after {policy.stage_seconds:g} s", str(policy.on_deadline)
    decisions: dict[str, CanaryDecision] = {
        "hold": judgement.decision,
        "roll_back": "roll_back",
        "promote": "promote" if goal.last else "continue",
    }
    actions = {"hold": "is held", "roll_back": "goes back", "promote": "goes on"}
    return Judgement(
        decisions[rule], f"{judgement.reason} By the policy, a stage {told} {actions[rule]}.", judgement.evidence
    )


def _note(window: Window) -> str:
    if window.problem:
        return window.problem
    if window.is_stale:
        return "no new counts"
    return "warm-up" if window.warm_up else ""


def _whole(windows: Iterable[tuple[CanaryArm | None, str]]) -> CanaryArm:
    """What an arm did in a stage, with the percentiles of its times in place of all times.

    Where requests could not be counted, failed probes stand for them; the count that comes later holds them again.
    """
    arms = [arm.model_copy(update={"errors": 0}) if problem else arm for arm, problem in windows if arm]
    return together(arms).model_copy(update={"latency": None})
