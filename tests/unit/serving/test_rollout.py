"""The course of a roll-out, with arms that behave as told: no server, no network, and a clock of its own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from stepworks.errors import ServingError
from stepworks.report.canary_document import CanaryDocument, CanaryStage
from stepworks.serving.judging.counts import arm
from stepworks.serving.rollout.backend import Traffic
from stepworks.serving.rollout.deployment import require_promotion
from stepworks.serving.rollout.policy import LAPTOP, RolloutPolicy
from stepworks.serving.rollout.rollout import roll_out
from stepworks.serving.split import takes_candidate
from tests.unit.serving.two_arms import SECONDS, Service, run


def test_a_good_candidate_passes_every_stage_and_is_promoted() -> None:
    service = Service()
    document = run(service)
    assert service.log == ["10 %", "50 %", "100 %", "promote"]
    assert document.outcome == "promoted"
    assert [stage.decision for stage in document.stages] == ["continue", "continue", "promote"]
    assert all(stage.candidate.requests >= 30 for stage in document.stages)
    assert all(stage.candidate.probes == stage.candidate.requests for stage in document.stages)
    assert document.stages[-1].stable is not None
    assert document.stages[-1].stable.requests == 0
    assert service.probes <= 500, "a laptop's roll-out takes seconds"
    windows = [window for stage in document.stages for window in stage.windows]
    assert {each.metric for window in windows for each in window.evidence} == {"errors", "latency", "answers"}
    assert all(each.evidence <= 1 for window in windows for each in window.evidence)


@pytest.mark.parametrize("fault", ["wrong", "error"])
def test_a_bad_candidate_goes_back_at_the_first_stage(fault: str) -> None:
    service = Service(**{fault: "candidate"})
    document = run(service)
    assert service.log == ["10 %", "roll back"]
    assert document.outcome == "rolled_back"
    counted = document.stages[0].candidate
    assert 3 <= len(document.stages[0].windows) <= 5, "no single window is enough"
    assert (counted.wrong_answers, counted.errors) == (
        (counted.probes, 0) if fault == "wrong" else (0, counted.requests)
    )
    assert f"{counted.requests} of the candidate's {counted.requests}" in document.reason
    assert "fewer than 1 of 300 roll-outs" in document.reason


def test_a_slow_candidate_goes_back() -> None:
    service = Service(slow={"candidate": 900.0})
    document = run(service)
    assert service.log == ["10 %", "roll back"]
    assert "were slow" in document.reason
    assert document.stages[0].candidate.latency_p50_ms == pytest.approx(900, rel=0.2)
    assert run(Service(slow={"candidate": 190.0})).outcome == "promoted", "the laptop's judge has a floor of 200 ms"


def test_a_candidate_is_not_blamed_for_what_the_stable_version_does_too() -> None:
    document = run(Service(wrong="stable"))
    assert document.outcome == "promoted"
    assert document.stages[0].stable is not None
    assert document.stages[0].stable.wrong_answers == document.stages[0].stable.requests


def test_a_fault_that_shows_only_under_all_of_the_traffic_goes_back() -> None:
    class Overloaded(Service):
        def set_percent(self, percent: int) -> None:
            super().set_percent(percent)
            self.error = "candidate" if percent == 100 else ""

    service = Overloaded()
    document = run(service)
    assert service.log == ["10 %", "50 %", "100 %", "roll back"]
    assert "no stable version to compare with" in document.reason


def test_a_first_version_has_one_stage() -> None:
    service = Service(stable=False)
    document = run(service)
    assert service.log == ["100 %", "promote"]
    assert document.stages[0].stable is None
    assert document.stages[0].candidate.requests >= 50
    bad = run(Service(stable=False, error="candidate"))
    assert bad.outcome == "rolled_back"
    assert "At most 20% are allowed where there is no stable version" in bad.reason


def test_what_cannot_be_proven_is_held() -> None:
    service = Service(wrong="candidate", every=12)
    document = run(service, stages=(50, 100), stage_seconds=0.5)
    assert service.log == ["50 %", "0 %"]
    assert document.outcome == "held"
    assert "less than 10.0% has to be proven" in document.reason
    assert "a stage undecided after 0.5 s is held" in document.reason


@pytest.mark.parametrize(
    ("on_deadline", "log", "outcome"),
    [
        ("hold", ["10 %", "0 %"], "held"),
        ("roll_back", ["10 %", "roll back"], "rolled_back"),
        ("promote", ["10 %", "50 %", "100 %", "promote"], "promoted"),
    ],
)
def test_what_becomes_of_a_stage_whose_time_is_over(on_deadline: str, log: list[str], outcome: str) -> None:
    service = Service()
    document = run(service, stage_seconds=1e-9, on_deadline=on_deadline)
    assert service.log == log
    assert document.outcome == outcome
    assert "this stage asks for 30" in document.stages[0].reason


def test_counts_that_cannot_be_read_are_no_failed_check() -> None:
    service = Service()
    looks = 0

    def out_of_reach(traffic: Traffic) -> Traffic:
        nonlocal looks
        looks += 1
        broken = 2 <= looks <= 6
        return Traffic(traffic.stable, traffic.candidate, problem="Prometheus does not answer." if broken else "")

    service.traffic = out_of_reach
    document = run(service)
    assert document.outcome == "promoted"
    notes = [window.note for window in document.stages[0].windows]
    assert notes[:8] == ["", *["Prometheus does not answer."] * 5, "", ""]
    told = document.stages[0]
    assert told.stable is not None
    assert told.candidate.requests + told.stable.requests == 40 * len(told.windows), "nothing is lost or counted twice"


@pytest.mark.parametrize(("on_stale", "end"), [("hold", "0 %"), ("roll_back", "roll back")])
def test_counts_that_stay_away_have_a_deadline_of_their_own(on_stale: str, end: str) -> None:
    service = Service()
    service.traffic = lambda traffic: Traffic(traffic.stable, traffic.candidate, problem="Prometheus is gone.")
    document = run(service, stage_seconds=0.5, stale_seconds=3.0, on_stale=on_stale)
    assert service.log == ["10 %", end]
    assert 3.0 < document.stages[0].seconds < 3.5
    assert "Prometheus is gone." in document.reason


def test_probes_that_fail_act_while_counts_cannot_be_read() -> None:
    service = Service(error="candidate")
    service.traffic = lambda traffic: Traffic(traffic.stable, traffic.candidate, problem="Prometheus is gone.")
    document = run(service)
    assert service.log == ["10 %", "roll back"]
    assert "probes were answered wrongly" in document.reason
    assert document.stages[0].candidate.errors == 0, "what was not counted is no error of so many requests"


def test_where_nothing_counts_requests_the_probes_are_judged() -> None:
    def uncounted(traffic: Traffic) -> Traffic:
        nothing = arm(requests=0, errors=0)
        return Traffic(None if traffic.stable is None else nothing, nothing, counted=False)

    for fault, outcome in (("", "promoted"), ("candidate", "rolled_back")):
        service = Service(error=fault)
        service.traffic = uncounted
        assert run(service).outcome == outcome


def test_traffic_that_is_not_split_as_asked_is_not_judged() -> None:
    service = Service(error="candidate")
    service.traffic = lambda traffic: Traffic(traffic.candidate, traffic.stable)
    document = run(service)
    assert service.log == ["10 %", "0 %"]
    assert (document.outcome, document.stages[0].decision) == ("held", "refused")
    assert "where 10 % were asked for" in document.reason


def test_without_probes_time_passes_and_traffic_is_judged() -> None:
    class Busy(Service):
        def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
            for _ in range(int(seconds / SECONDS)):
                self.send()

    service = Busy()
    policy = RolloutPolicy(stages=(50, 100), window_seconds=10, warm_up_windows=1)
    policy = policy.model_copy(update={"judge": policy.judge.model_copy(update={"answers": None})})
    document = roll_out(service, policy, None, clock=service)
    assert document.outcome == "promoted"
    assert document.stages[0].windows[0].note == "warm-up"
    assert document.stages[0].candidate.probes == 0


def test_a_probe_now_and_then_leaves_time_between() -> None:
    service = Service()
    run(service, window_probes=None, window_seconds=10.0, probe_seconds=1.0, stage_seconds=5.0)
    assert service.probes == 10


def test_too_little_traffic_is_told_before_it_begins() -> None:
    told: list[str] = []
    service = Service()
    policy = LAPTOP.model_copy(update={"requests_per_second": 0.1})
    document = roll_out(service, policy, service, clock=service, tell=told.append)
    assert told[:3] == document.forecast
    assert [line.split(". ")[0] for line in told[3:]] == [
        f"At {stage.percent} % of the traffic: {stage.decision}" for stage in document.stages
    ]
    assert "At 10 % it takes 50 min" in told[0]
    assert "Give it more time" in told[0]


def test_an_exception_rolls_back_first() -> None:
    service = Service(breaks_at=50)
    with pytest.raises(ServingError, match="The split is gone"):
        run(service)
    assert service.log == ["10 %", "50 %", "roll back"]


def test_ctrl_c_rolls_back_first() -> None:
    service = Service()

    def interrupt(_: Traffic) -> Traffic:
        raise KeyboardInterrupt

    service.traffic = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(service)
    assert service.log == ["10 %", "roll back"]


def test_a_failing_roll_back_does_not_hide_what_happened() -> None:
    class Gone(Service):
        def roll_back(self) -> None:
            raise ServingError("no way back")

    with pytest.raises(ServingError, match="The split is gone") as caught:
        run(Gone(breaks_at=10))
    assert "no way back" in caught.value.__notes__[0]


@pytest.mark.parametrize("stages", [(), (5, 50), (50, 5, 100), (5, 5, 100), (0, 100)])
def test_a_policys_stages_rise_to_all(stages: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        RolloutPolicy(stages=stages)


def test_a_policy_may_have_other_stages() -> None:
    service = Service()
    run(service, stages=(50, 100))
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
    stage = CanaryStage(
        percent=25, stable=None, candidate=arm(requests=9, errors=1), decision="roll_back", reason="x", seconds=1
    )
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
        require_promotion(document, Path("canary.html"))
    require_promotion(document.model_copy(update={"outcome": "promoted"}), Path("canary.html"))
