"""What no single fact tells: refusals that are over, deletions that do not end, and the page of the causes."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from stepworks.kube.diagnosis.causes import judge, judge_obstacles
from stepworks.kube.diagnosis.facts import EventFacts, Facts, PodFacts
from stepworks.kube.diagnosis.finding import Cause
from tests.unit.kube.facts_of_pods import JOB, SHORT_OF_PODS, failed, pod, stuck
from tests.unit.kube.test_diagnosis_causes import ENDS, OBSTACLES


def test_a_refusal_that_was_answered_since_is_over() -> None:
    refusal = EventFacts("Job train", "FailedCreate", 'Pod "train-x" is invalid: spec', last="10:00:00")
    made = EventFacts("Job train", "SuccessfulCreate", "Created pod: train-a", last="10:00:05")
    again = replace(refusal, last="10:00:09")
    other = replace(made, about="Job another")
    assert judge_obstacles(stuck(chain=(SHORT_OF_PODS,), events=(refusal, made))) is None
    assert judge_obstacles(stuck(chain=(SHORT_OF_PODS,), events=(refusal, made, again))) is not None
    assert judge_obstacles(stuck(chain=(SHORT_OF_PODS,), events=(refusal, other))) is not None


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        ((pod(phase="Running", node="gpu-1"),), "it is not deleted while its pod train-a is on the node gpu-1"),
        ((), "it is not deleted before its finalizers are gone: example.com/a"),
    ],
)
def test_what_keeps_an_object_from_being_deleted_is_told(pods: tuple[PodFacts, ...], told: str) -> None:
    found = judge(stuck(*pods, chain=(replace(JOB, finalizers=("example.com/a",)),)))
    assert (found.cause, found.problem) == ("deletion-blocked", told)


def documented() -> dict[str, tuple[bool, str]]:
    """What docs/reliability.md says of each cause: whether it is permanent, and how long it is waited for."""
    page = (Path(__file__).parents[3] / "docs" / "reliability.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (yes|no) \| ([^|]+) \|", page, re.MULTILINE)
    return {cause: (permanent == "yes", waited) for cause, permanent, waited in rows}


def test_the_page_has_every_cause() -> None:
    assert list(documented()) == sorted(get_args(Cause))


@pytest.mark.parametrize(("facts", "tolerance"), [(each[0], each[2]) for each in OBSTACLES])
def test_the_page_says_how_long_an_obstacle_is_waited_for(facts: Facts, tolerance: str) -> None:
    found = judge_obstacles(facts)
    assert found
    waited = {"none": "not at all", "soon": "two minutes", "room": "for room"}[tolerance]
    assert documented()[found.cause] == (found.permanent, waited)


@pytest.mark.parametrize("ended_pod", [each[0] for each in ENDS])
def test_the_page_says_whether_an_end_is_permanent(ended_pod: PodFacts) -> None:
    found = judge(failed(ended_pod))
    assert documented()[found.cause][0] == found.permanent
