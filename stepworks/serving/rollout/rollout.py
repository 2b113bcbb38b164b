"""The course of a roll-out: stage by stage, judged after each, back at the first doubt."""

from __future__ import annotations

import time
from collections import Counter

from stepworks.errors import StepworksError
from stepworks.report.documents import CanaryArm, CanaryDocument, CanaryStage
from stepworks.serving.rollout.backend import TrafficBackend
from stepworks.serving.rollout.judge import Judge
from stepworks.serving.rollout.policy import RolloutPolicy
from stepworks.serving.rollout.probes import Prober
from stepworks.serving.split_admin import ArmName


def roll_out(
    backend: TrafficBackend, judge: Judge, policy: RolloutPolicy, prober: Prober, *, rehearsal: bool = False
) -> CanaryDocument:
    """Roll a candidate out, or back.

    A first version, with no stable one beside it, has one stage at 100 %. A stage without enough data holds the
    roll-out: the stable version gets all traffic again, and the candidate stays up. Any exception, Ctrl-C
    included, rolls back before it goes on.

    Args:
        backend: Shifts the traffic.
        judge: Decides after each stage.
        policy: The stages.
        prober: Sends the requests of which the right answers are known.
        rehearsal: Whether the candidate is broken on purpose; only noted in the document.

    Returns:
        The roll-out's course and outcome.

    Raises:
        StepworksError: What the backend or the prober raises; the roll-out has been rolled back then.
    """
    percents = policy.stages if backend.stable_version is not None else (100,)
    stages: list[CanaryStage] = []
    try:
        for percent in percents:
            stages.append(_run_stage(backend, judge, policy, prober, percent))
            if stages[-1].decision != "continue":
                break
        match stages[-1].decision:
            case "promote":
                backend.promote()
            case "roll_back":
                backend.roll_back()
            case _:
                backend.set_percent(0)
    except BaseException as error:
        try:
            backend.roll_back()
        except StepworksError as failure:
            error.add_note(f"Rolling back failed too: {failure}")
        raise
    outcomes = {"promote": "promoted", "roll_back": "rolled_back", "insufficient_data": "held"}
    return CanaryDocument(
        service=backend.service,
        stable_version=backend.stable_version,
        candidate_version=backend.candidate_version,
        rehearsal=rehearsal,
        stages=stages,
        outcome=outcomes[stages[-1].decision],
        reason=stages[-1].reason,
    )


def _run_stage(
    backend: TrafficBackend, judge: Judge, policy: RolloutPolicy, prober: Prober, percent: int
) -> CanaryStage:
    started = time.monotonic()
    backend.set_percent(percent)
    answered: Counter[ArmName] = Counter()
    wrong: Counter[ArmName] = Counter()
    for _ in range(policy.request_limit(percent)):
        result = prober.send()
        answered[result.arm] += 1
        wrong[result.arm] += result.wrong
        if answered["candidate"] >= policy.candidate_requests or time.monotonic() - started > policy.stage_seconds:
            break
    traffic = backend.observe()
    candidate = _with_wrong_answers(traffic.candidate, wrong["candidate"])
    stable = None if traffic.stable is None else _with_wrong_answers(traffic.stable, wrong["stable"])
    decision = judge.judge(stable if stable and stable.requests else None, candidate)
    passed_all = decision.decision == "continue" and percent == 100
    return CanaryStage(
        percent=percent,
        stable=stable,
        candidate=candidate,
        decision="promote" if passed_all else decision.decision,
        reason=decision.reason,
        seconds=time.monotonic() - started,
    )


def _with_wrong_answers(arm: CanaryArm, wrong_answers: int) -> CanaryArm:
    return arm.model_copy(update={"wrong_answers": wrong_answers})
