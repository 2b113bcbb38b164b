"""What is decided from windows, and why."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stepworks.report.canary_document import CanaryArm, LatencyHistogram
from stepworks.serving.judging.counts import NOTHING, Window, arm, since, together
from stepworks.serving.judging.forecast import Expectation, forecast
from stepworks.serving.judging.guards import refusal, stale_seconds
from stepworks.serving.judging.metrics import slow_bounds, tables
from stepworks.serving.judging.settings import JudgeSettings, LatencyRule, MetricRule
from stepworks.serving.judging.verdict import Goal, Judgement, judge
from stepworks.serving.rollout.policy import LAPTOP, RolloutPolicy

BOUNDS = (10.0, 20.0, 40.0, 80.0)
ERRORS = JudgeSettings(latency=None, answers=None)
FIRST, LAST = Goal(200, conclusive=False, last=False), Goal(200, conclusive=True, last=True)


def times(*counts: int) -> LatencyHistogram:
    return LatencyHistogram(bounds_ms=BOUNDS, counts=counts)


def window(
    candidate: int,
    stable: int | None,
    *,
    errors: tuple[int, int] = (0, 0),
    slow: tuple[int, int] = (0, 0),
    wrong: tuple[int, int] = (0, 0),
    probes: tuple[int, int] = (0, 0),
    percent: int = 10,
    problem: str = "",
    warm_up: bool = False,
) -> Window:
    """A window in which nine of ten answers take 10 ms, the rest 20; `slow` ones take 40."""

    def one(number: int, requests: int) -> CanaryArm:
        quick = requests - slow[number]
        latency = times(quick - quick // 10, quick // 10, slow[number], 0, 0)
        return arm(
            requests=requests,
            errors=errors[number],
            wrong_answers=wrong[number],
            probes=probes[number],
            latency=latency,
        )

    other = None if stable is None else one(1, stable)
    return Window(percent, 60.0, other, one(0, candidate), warm_up=warm_up, problem=problem)


def decide(windows: list[Window], goal: Goal = LAST, settings: JudgeSettings = ERRORS) -> Judgement:
    return judge(windows, goal, settings)


def test_a_version_as_good_is_promoted_once_the_margin_is_proven() -> None:
    good = [window(60, 540, errors=(number % 3 == 0, 3)) for number in range(20)]
    courses = [decide(good[: number + 1]).decision for number in range(20)]
    assert set(courses) == {"insufficient_data", "promote"}
    first = courses.index("promote")
    assert courses[first:] == ["promote"] * (20 - first)
    assert "asks for 200" in decide(good[:3]).reason
    assert "less than 2.0% has to be proven" in decide(good[:5]).reason
    assert decide(good).reason == (
        "Nothing speaks against the candidate: 0.6% of 1,200 requests failed (0.6% of the stable version's)."
    )
    assert decide(good[:5], FIRST).decision == "continue", "a stage before the last does not wait for the proof"


def test_a_worse_version_goes_back_before_the_stage_has_seen_enough() -> None:
    found = decide([window(40, 360, errors=(4, 2))] * 4)
    assert found.decision == "roll_back"
    assert "16 of the candidate's 160 requests failed (10.0%), and 0.6% of the stable version's" in found.reason
    assert "fewer than 1 of 100 roll-outs of a version that is no worse" in found.reason
    (told,) = found.evidence
    assert (told.candidate, told.candidate_bad, told.stable, told.stable_bad) == (40, 4, 360, 2)
    assert told.evidence >= told.needed == pytest.approx(100)


def test_what_was_once_found_is_not_forgotten() -> None:
    bad, good = [window(60, 540, errors=(6, 3))] * 5, [window(60, 540, errors=(0, 30))] * 30
    assert decide([*bad, *good]).decision == "roll_back"


def test_an_outage_of_both_is_held_against_none() -> None:
    outage = [window(60, 540, errors=(6, 54))] * 5
    calm = [window(60, 540)] * 60
    assert decide(outage, FIRST).decision == "continue"
    assert decide([*outage, *calm]).decision == "promote"


def test_one_bad_window_delays_and_does_not_decide() -> None:
    burst = window(600, 600, errors=(200, 0), percent=50)
    calm = [window(600, 600, percent=50)]
    found = decide([burst, *calm], FIRST)
    assert found.decision == "insufficient_data"
    assert "So up to" in found.reason
    assert decide([burst, *calm * 60], FIRST).decision == "continue", "in the end the margin is proven"


def test_evidence_grows_over_stages() -> None:
    little = {
        percent: [window(6 * percent, 600 - 6 * percent, errors=(percent // 2, 4), percent=percent)] * 2
        for percent in (10, 20)
    }
    assert decide(little[10], FIRST).decision != "roll_back"
    assert decide(little[20], FIRST).decision != "roll_back"
    assert decide([*little[10], *little[20]], FIRST).decision == "roll_back"


def test_a_warm_up_is_held_against_none_and_counts_for_nothing() -> None:
    cold = window(300, 2700, errors=(150, 0), warm_up=True)
    found = decide([cold])
    assert found.decision == "insufficient_data"
    assert "answered 0 requests" in found.reason
    assert decide([cold, *[window(60, 540)] * 20]).decision == "promote"


def test_slow_is_what_the_stable_version_was_not_before() -> None:
    settings = JudgeSettings(errors=None, answers=None)
    assert settings.latency is not None
    quick = window(60, 540)
    bounds = slow_bounds([quick] * 3, settings.latency)
    assert bounds == [None, 10.0, 10.0], "nine of ten answers kept to 10 ms"
    later = [quick, window(60, 540, slow=(30, 54))]
    assert tables("latency", later, settings)[1] == tables("latency", [quick, later[1]], settings)[1]
    table = tables("latency", later, settings)[1]
    assert table is not None
    assert (table.candidate_bad, table.stable_bad) == (33, 102)
    few = slow_bounds([window(10, 50)] * 6, settings.latency)
    assert few == [None] * 4 + [10.0] * 2, "two hundred answers come first"
    wide = LatencyRule(factor=3.0, floor_ms=50.0, baseline_requests=1)
    assert slow_bounds([quick] * 2, wide) == [None, 80.0]
    assert slow_bounds([quick] * 2, LatencyRule(factor=9.0)) == [None, None], "no bucket is so high"


def test_a_slower_version_goes_back_and_a_little_slower_one_does_not() -> None:
    settings = JudgeSettings(errors=None, answers=None)
    base = [window(120, 1080)]
    slower = decide([*base, *[window(120, 1080, slow=(24, 0))] * 20], settings=settings)
    assert slower.decision == "roll_back"
    assert "were slow" in slower.reason
    assert "at most 1.25 times as bad" in slower.reason
    little = decide([*base, *[window(120, 1080, slow=(2, 0))] * 60], settings=settings)
    assert little.decision == "promote"


def test_arms_of_other_buckets_cannot_be_compared_by_latency() -> None:
    settings = JudgeSettings(errors=None, answers=None)
    other = LatencyHistogram(bounds_ms=(15.0,), counts=(60, 0))
    odd = Window(10, 60.0, window(60, 540).stable, arm(requests=60, errors=0, latency=other))
    found = decide([odd] * 5, settings=settings)
    assert found.decision == "insufficient_data"
    assert "None of the candidate's requests could be judged" in found.reason


def test_wrong_answers_to_probes_send_it_back() -> None:
    settings = JudgeSettings(errors=None, latency=None)
    found = decide([window(60, 540, probes=(10, 50), wrong=(4, 0))] * 5, settings=settings)
    assert found.decision == "roll_back"
    assert "20 of the candidate's 50 probes were answered wrongly" in found.reason


def test_a_required_metric_without_data_is_no_pass() -> None:
    settings = JudgeSettings(latency=None)
    assert settings.answers is not None
    found = decide([window(60, 540)] * 20, settings=settings)
    assert found.decision == "insufficient_data"
    assert "None of the candidate's probes could be judged" in found.reason
    optional = settings.model_copy(update={"answers": settings.answers.model_copy(update={"required": False})})
    assert decide([window(60, 540)] * 20, settings=optional).decision == "promote"


def test_a_first_version_is_judged_by_the_ceilings() -> None:
    settings = JudgeSettings(answers=None, latency=LatencyRule(limit_ms=15.0, ceiling=0.3))
    good = [window(100, None, percent=100)] * 10
    assert decide(good[:1], settings=settings).decision == "insufficient_data"
    found = decide(good, settings=settings)
    assert found.decision == "promote"
    assert "0.0% of 1,000 requests failed, 0.0% of 1,000 requests were slow." in found.reason
    bad = decide([window(100, None, errors=(20, 0), percent=100)] * 10, settings=settings)
    assert bad.decision == "roll_back"
    assert "At most 10% are allowed where there is no stable version" in bad.reason
    between = decide([window(100, None, errors=(10, 0), percent=100)] * 10, settings=settings)
    assert (between.decision, "So up to" in between.reason) == ("insufficient_data", True)
    slow = decide([window(100, None, slow=(60, 0), percent=100)] * 10, settings=settings)
    assert (slow.decision, "were slow" in slow.reason) == ("roll_back", True)


def test_a_first_version_passes_by_the_defaults_which_have_no_limit_of_time() -> None:
    found = decide([window(100, None, probes=(100, 0), percent=100)] * 10, settings=JudgeSettings())
    assert found.decision == "promote"
    beside = decide([window(100, 100, probes=(100, 100), percent=50)] * 1, settings=JudgeSettings())
    assert beside.decision == "insufficient_data", "beside another one its times are asked for"


def test_no_new_counts_are_no_failed_check() -> None:
    settings = JudgeSettings(latency=None)
    good, silent = window(60, 540), window(0, 0)
    found = decide([*[good] * 5, silent, silent], settings=settings)
    assert found.decision == "stale"
    assert "no new counts for 120 s. Neither version answered" in found.reason
    unread = window(0, 0, problem="Prometheus does not answer.", probes=(5, 45))
    assert stale_seconds([good, silent, unread, unread]) == 180
    assert stale_seconds([silent, good]) == 0
    found = decide([*[good] * 5, unread], settings=settings)
    assert (found.decision, "Prometheus does not answer." in found.reason) == ("stale", True)


def test_failed_probes_act_while_requests_cannot_be_counted() -> None:
    settings = JudgeSettings(latency=None)
    failing = window(0, 0, problem="Prometheus does not answer.", probes=(6, 54), errors=(5, 0))
    assert decide([failing] * 5, settings=settings).decision == "roll_back"


@pytest.mark.parametrize(
    ("percent", "candidate", "stable", "refused"),
    [(10, 60, 540, False), (10, 90, 510, True), (10, 30, 570, True), (50, 200, 400, True), (50, 290, 310, False)],
)
def test_traffic_that_is_not_split_as_asked_is_not_judged(
    percent: int, candidate: int, stable: int, refused: bool
) -> None:
    found = decide([window(candidate, stable, percent=percent, errors=(candidate // 2, 0))] * 10, FIRST)
    assert (found.decision == "refused") == refused
    if refused:
        assert f"where {percent} % were asked for" in found.reason


def test_a_new_share_may_take_a_window_to_arrive() -> None:
    late, right = window(12, 588, percent=25), window(150, 450, percent=25)
    assert decide([late], FIRST).decision == "insufficient_data"
    assert "where 25 % were asked for" in decide([late], FIRST).reason
    assert decide([late, right], FIRST).decision == "insufficient_data"
    assert "asks for 200" in decide([late, right], FIRST).reason
    assert decide([late, right, right], FIRST).decision == "continue"
    assert decide([late, late], FIRST).decision == "refused"


def test_a_router_that_draws_whole_numbers_may_be_off_by_one() -> None:
    assert not refusal([window(198, 9802, percent=1)] * 5, ERRORS)
    assert "where 1 % were asked for" in refusal([window(398, 9602, percent=1)] * 5, ERRORS)


def test_a_few_requests_say_nothing_of_the_share() -> None:
    assert not refusal([window(3, 3)], ERRORS)
    assert not refusal([window(100, 0, percent=100)] * 5, ERRORS)
    assert not refusal([window(0, 500, percent=0)] * 5, ERRORS)


def test_arms_that_are_one_series_are_not_judged() -> None:
    def alike(number: int) -> Window:
        counts = arm(requests=90 + number, errors=number % 2, latency=times(80, 8, 2 + number, 0, 0))
        return Window(50, 60.0, counts, counts)

    def apart(number: int) -> Window:
        other = arm(requests=90 + number, errors=0, latency=times(79, 9, 2 + number, 0, 0))
        return Window(50, 60.0, other, alike(number).candidate)

    one = [alike(number) for number in range(5)]
    assert "very same counts in 5 windows" in refusal(one, ERRORS)
    assert not refusal(one[:4], ERRORS)
    assert not refusal([*one[:4], apart(4)], ERRORS)
    flat = arm(requests=20, errors=0, latency=times(20, 0, 0, 0, 0))
    assert not refusal([Window(50, 60.0, flat, flat)] * 9, ERRORS), "few requests of one bucket agree by chance"


def test_the_difference_of_two_looks() -> None:
    early = arm(requests=10, errors=1, wrong_answers=1, probes=4, latency=times(9, 1, 0, 0, 0))
    late = arm(requests=25, errors=1, wrong_answers=3, probes=9, latency=times(20, 3, 2, 0, 0))
    between = since(late, early)
    assert (between.requests, between.errors, between.wrong_answers, between.probes) == (15, 0, 2, 5)
    assert between.latency == times(11, 2, 2, 0, 0)
    assert since(early, late) == early, "a restarted server counts from zero"
    whole = together([early, between])
    assert whole == late
    assert together([]) == NOTHING


@pytest.mark.parametrize("counts", [(1, 2), (1, 2, 3, 4, 5, 6)])
def test_a_histogram_has_one_count_more_than_bounds(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="one more is needed"):
        times(*counts)
    with pytest.raises(ValidationError, match="must rise"):
        LatencyHistogram(bounds_ms=(2.0, 2.0), counts=(0, 0, 0))


def test_quantiles_of_a_histogram() -> None:
    found = times(50, 40, 0, 0, 10)
    assert found.quantile(0.5) == 10.0
    assert found.quantile(0.7) == 15.0
    assert found.quantile(0.95) == 80.0, "above the last bound nothing more is known"
    assert (found.bound_of(0.9), found.bound_of(0.91)) == (20.0, None)
    assert times(0, 0, 0, 0, 0).quantile(0.5) is None
    assert found.slower_than(20.0) == 10


def test_a_forecast_says_where_the_time_goes() -> None:
    policy = RolloutPolicy()
    goals = policy.goals(stable=True)
    plenty = forecast(goals, Expectation(50, 1), policy.stage_seconds, policy.judge)
    assert [stage.percent for stage in plenty] == [5, 25, 50, 100]
    assert all(stage.reachable for stage in plenty)
    assert plenty[0].statement == "At 5 % it takes 80 s until there are 200 requests of the candidate."
    assert "proof that at most 2.0% more of its probes were answered wrongly" in plenty[2].statement
    scarce = forecast(goals, Expectation(0.5, 0.5), policy.stage_seconds, policy.judge)
    assert [stage.reachable for stage in scarce] == [False, True, False, True]
    assert "a stage may take 60 min. Give it more time" in scarce[0].statement
    slow = forecast(goals, Expectation(50, 1, errors=0.5), 60.0, policy.judge)
    assert "with proof that at most 2.0% more of its requests failed" in slow[2].statement
    (never,) = forecast({50: goals[50]}, Expectation(50, 0), 60.0, policy.judge)
    assert not never.reachable
    assert "At 50 % there is never proof that at most 2.0% more of its probes" in never.statement


@pytest.mark.parametrize("requests_per_second", [20.0, 60.0])
def test_a_forecast_comes_true(requests_per_second: float) -> None:
    """The judge promotes in the second window after the time that was forecast for what it expects, and not before."""
    settings = JudgeSettings(latency=None, answers=None)
    goal = Goal(200, conclusive=True, last=False)
    (told,) = forecast({50: goal}, Expectation(requests_per_second, 1, errors=0.01), 3600.0, settings)
    each = int(requests_per_second * 10)
    windows = [window(each // 2, each // 2, percent=50, errors=(each // 200, each // 200))] * 400
    ended = next(number for number in range(1, 400) if decide(windows[:number], goal, settings).decision == "continue")
    assert 10 * (ended - 1) < told.seconds * 1.1
    assert told.seconds <= 10 * ended


def test_a_forecast_counts_the_requests_that_a_promotion_needs_at_least() -> None:
    settings = JudgeSettings(latency=None, answers=None, errors=MetricRule(margin=0.5), minimum_requests=3000)
    (told,) = forecast({50: Goal(10, conclusive=True, last=False)}, Expectation(10, 1), 3600.0, settings)
    assert told.candidate_requests == pytest.approx(3000, rel=0.02)


def test_the_laptops_policy_can_reach_a_decision() -> None:
    stages = forecast(LAPTOP.goals(stable=True), Expectation(50, 50), LAPTOP.stage_seconds, LAPTOP.judge)
    assert all(stage.reachable for stage in stages)


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"window_weight": 1.5}, {"unknown": 1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        JudgeSettings(**wrong)
    with pytest.raises(ValidationError):
        MetricRule(tolerance=0.9)
