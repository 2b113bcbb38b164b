"""Of several things that are wrong, which one is told."""

from dataclasses import replace

from stepworks.kube.diagnosis.causes import judge, judge_obstacles
from stepworks.kube.diagnosis.facts import PodFacts
from tests.unit.kube.facts_of_pods import JOB, disrupted, ended, failed, pod, refused


def ranked(rank: int, at: str, code: int, created: str = "10:00:00") -> PodFacts:
    return pod(ended(code, ended_at=at), name=f"train-{rank}-{code}", rank=f"index {rank}", created=created)


def test_the_rank_that_failed_first_is_the_one_that_counts() -> None:
    others = (ranked(0, "10:00:09", 1), ranked(2, "10:00:08", 1))
    assert judge(failed(others[0], ranked(1, "10:00:07", 3), others[1])).problem.endswith("exit code 3")


def test_of_the_same_second_the_one_that_was_not_killed_counts() -> None:
    assert judge(failed(ranked(0, "10:00:07", 143), ranked(1, "10:00:07", 3))).problem == (
        "the container main of the pod train-1-3 (index 1) ended with exit code 3"
    )


def test_one_that_was_killed_first_counts_before_the_failures_that_followed() -> None:
    assert judge(failed(ranked(0, "10:00:09", 1), ranked(1, "10:00:07", 137))).cause == "killed"


def test_of_each_rank_the_last_pod_counts() -> None:
    first = ranked(0, "09:00:00", 75, created="08:00:00")
    assert judge(failed(first, ranked(0, "10:00:07", 3))).problem.endswith("exit code 3")


def test_an_eviction_counts_before_the_failures_that_it_led_to() -> None:
    lost = replace(disrupted("TerminationByKubelet"), name="train-1", rank="index 1")
    assert judge(failed(ranked(0, "10:00:09", 1), lost)).cause == "evicted"


def test_a_refusal_is_over_when_all_pods_are_there() -> None:
    facts = refused('pods "train-x" is forbidden: exceeded quota: gpus, requested: cpu=1')
    assert judge_obstacles(replace(facts, chain=(JOB,))) is None


def test_without_a_log_what_to_do_says_how_to_read_it() -> None:
    assert judge(failed(pod(ended(3)))).what_to_do == (
        "Correct the program or its arguments; see the last lines of its log above."
    )
    assert judge(replace(failed(pod(ended(3))), log="")).what_to_do == (
        "Correct the program or its arguments; see kubectl -n team logs train-a -c main."
    )
