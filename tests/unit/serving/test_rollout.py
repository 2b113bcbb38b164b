"""The course of a roll-out, with arms that behave as told: no server, no network."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stepworks.errors import ServingError
from stepworks.report.documents import CanaryArm, CanaryDocument, CanaryStage
from stepworks.serving.rollout.backend import Traffic
from stepworks.serving.rollout.deployment import require_promotion
from stepworks.serving.rollout.judge import ThresholdJudge
from stepworks.serving.rollout.policy import RolloutPolicy
from stepworks.serving.rollout.probes import ProbeResult
from stepworks.serving.rollout.rollout import roll_out
from stepworks.serving.split import takes_candidate


class Service:
    """Two arms in memory, as a backend and as its prober. `wrong` and `error` name the arm that misbehaves."""

    service = "flights"
    candidate_version = "2"

    def __init__(self, *, stable: bool = True, wrong: str = "", error: str = "", breaks_at: int | None = None) -> None:
        self.stable_version = "1" if stable else None
        self.wrong, self.error, self.breaks_at = wrong, error, breaks_at
        self.log: list[str] = []
        self.set_percent(0)
        self.log.clear()

    def set_percent(self, percent: int) -> None:
        self.log.append(f"{percent} %")
        self.percent = percent
        self.sent: list[str] = []

    def send(self) -> ProbeResult:
        if self.percent == self.breaks_at:
            raise ServingError("The split is gone")
        arm = "candidate" if takes_candidate(len(self.sent), self.percent / 100) else "stable"
        self.sent.append(arm)
        return ProbeResult(arm, wrong=arm == self.wrong)

    def observe(self) -> Traffic:
        arms = {
            arm: CanaryArm(
                requests=self.sent.count(arm),
                errors=self.sent.count(arm) if arm == self.error else 0,
                wrong_answers=0,
                latency_p50_ms=1.0,
                latency_p95_ms=2.0,
            )
            for arm in ("stable", "candidate")
        }
        return Traffic(arms["stable"] if self.stable_version else None, arms["candidate"])

    def promote(self) -> None:
        self.log.append("promote")

    def roll_back(self) -> None:
        self.log.append("roll back")


def run(service: Service, **policy: float) -> CanaryDocument:
    return roll_out(service, ThresholdJudge(), RolloutPolicy(**policy), service)


def test_a_good_candidate_passes_every_stage_and_is_promoted() -> None:
    service = Service()
    document = run(service)
    assert service.log == ["5 %", "25 %", "50 %", "100 %", "promote"]
    assert document.outcome == "promoted"
    assert [stage.decision for stage in document.stages] == ["continue", "continue", "continue", "promote"]
    assert all(stage.candidate.requests == 20 for stage in document.stages)
    assert document.stages[-1].stable is not None
    assert document.stages[-1].stable.requests == 0


@pytest.mark.parametrize("fault", ["wrong", "error"])
def test_a_bad_candidate_goes_back_at_the_first_stage(fault: str) -> None:
    service = Service(**{fault: "candidate"})
    document = run(service)
    assert service.log == ["5 %", "roll back"]
    assert document.outcome == "rolled_back"
    assert "100.0% of 20 requests" in document.reason
    counted = document.stages[0].candidate
    assert (counted.wrong_answers, counted.errors) == ((20, 0) if fault == "wrong" else (0, 20))


def test_a_candidate_is_not_blamed_for_what_the_stable_version_does_too() -> None:
    document = run(Service(wrong="stable"))
    assert document.outcome == "promoted"
    assert document.stages[0].stable is not None
    assert document.stages[0].stable.wrong_answers == document.stages[0].stable.requests


def test_a_first_version_has_one_stage() -> None:
    service = Service(stable=False)
    document = run(service)
    assert service.log == ["100 %", "promote"]
    assert document.stages[0].stable is None
    assert run(Service(stable=False, error="candidate")).outcome == "rolled_back"


def test_too_little_traffic_holds_the_roll_out() -> None:
    service = Service()
    document = run(service, candidate_requests=3)
    assert service.log == ["5 %", "0 %"]
    assert document.outcome == "held"
    assert "20 are needed" in document.reason


def test_time_ends_a_stage() -> None:
    service = Service()
    document = run(service, stage_seconds=1e-9)
    assert document.outcome == "held"
    assert len(service.sent) == 0
    assert document.stages[0].candidate.requests + document.stages[0].stable.requests == 1


def test_an_exception_rolls_back_first() -> None:
    service = Service(breaks_at=25)
    with pytest.raises(ServingError, match="The split is gone"):
        run(service)
    assert service.log == ["5 %", "25 %", "roll back"]


def test_a_failing_roll_back_does_not_hide_what_happened() -> None:
    class Gone(Service):
        def roll_back(self) -> None:
            raise ServingError("no way back")

    with pytest.raises(ServingError, match="The split is gone") as caught:
        run(Gone(breaks_at=5))
    assert "no way back" in caught.value.__notes__[0]


def arm(requests: int = 100, errors: int = 0, wrong: int = 0, p95: float | None = 10.0) -> CanaryArm:
    return CanaryArm(requests=requests, errors=errors, wrong_answers=wrong, latency_p50_ms=p95, latency_p95_ms=p95)


@pytest.mark.parametrize(
    ("stable", "candidate", "decision"),
    [
        (arm(), arm(), "continue"),
        (arm(), arm(requests=19), "insufficient_data"),
        (arm(), arm(errors=3, wrong=2), "continue"),
        (arm(), arm(errors=3, wrong=3), "roll_back"),
        (arm(errors=20), arm(errors=25), "continue"),
        (arm(errors=20), arm(errors=26), "roll_back"),
        (arm(requests=0), arm(errors=5), "continue"),
        (arm(), arm(p95=210.0), "continue"),
        (arm(), arm(p95=211.0), "roll_back"),
        (arm(p95=500.0), arm(p95=1500.0), "continue"),
        (arm(p95=500.0), arm(p95=1501.0), "roll_back"),
        (arm(p95=None), arm(p95=9999.0), "continue"),
        (None, arm(errors=5, p95=9999.0), "continue"),
        (None, arm(errors=6), "roll_back"),
    ],
)
def test_the_judge(stable: CanaryArm | None, candidate: CanaryArm, decision: str) -> None:
    assert ThresholdJudge().judge(stable, candidate).decision == decision


@pytest.mark.parametrize("stages", [(), (5, 50), (50, 5, 100), (5, 5, 100), (0, 100)])
def test_a_policys_stages_rise_to_all(stages: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        RolloutPolicy(stages=stages)


def test_a_policy_may_have_other_stages() -> None:
    service = Service()
    roll_out(service, ThresholdJudge(), RolloutPolicy(stages=(50, 100)), service)
    assert service.log == ["50 %", "100 %", "promote"]


@pytest.mark.parametrize("percent", [1, 5, 10, 25, 50, 99])
def test_the_share_is_kept_in_any_hundred_requests(percent: int) -> None:
    chosen = [takes_candidate(request, percent / 100) for request in range(2000)]
    assert all(abs(sum(chosen[start : start + 100]) - percent) <= 2 for start in range(1900))
    assert abs(sum(chosen) - 20 * percent) <= 3


def test_all_and_none() -> None:
    assert all(takes_candidate(request, 1.0) for request in range(1000))
    assert not any(takes_candidate(request, 0.0) for request in range(1000))


@pytest.mark.parametrize(("outcome", "stable"), [("rolled_back", "1"), ("held", None)])
def test_what_was_not_promoted_fails_the_step(outcome: str, stable: str | None) -> None:
    stage = CanaryStage(percent=25, stable=None, candidate=arm(), decision="roll_back", reason="x", seconds=1)
    document = CanaryDocument(
        service="flights",
        stable_version=stable,
        candidate_version="2",
        stages=[stage],
        outcome=outcome,
        reason="too slow",
    )
    serves = "Version 1 serves as before" if stable else "No version serves"
    with pytest.raises(ServingError, match=f"(?s)was not promoted.*{outcome} at 25 %.*too slow.*{serves}"):
        require_promotion(document)
    require_promotion(document.model_copy(update={"outcome": "promoted"}))
