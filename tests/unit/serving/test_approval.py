"""Stages of a roll-out that wait for a person's yes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from stepworks.report.canary_document import CanaryDocument
from stepworks.serving.rollout.policy import LAPTOP, RolloutPolicy
from stepworks.serving.rollout.rollout import roll_out
from tests.unit.serving.two_arms import Service, run


class Person:
    """Says yes when asked for the third time, or never."""

    def __init__(self, says_yes: bool = True, then: Callable[[], None] = lambda: None) -> None:
        self.says_yes, self.then = says_yes, then
        self.asked: list[int] = []

    def request(self, percent: int) -> str:
        return f"Say yes to {percent}."

    def given(self, percent: int) -> bool:
        self.asked.append(percent)
        if len(self.asked) == 2:
            self.then()
        return self.says_yes and len(self.asked) > 2


def run_asking(service: Service, person: Person, said: list[str], **policy: object) -> CanaryDocument:
    chosen = LAPTOP.model_copy(update={"approvals": (50,), **policy})
    return roll_out(service, chosen, service, approval=person, clock=service, tell=said.append)


def test_a_share_that_a_person_has_to_approve_waits_for_the_yes() -> None:
    service, person, said = Service(), Person(), list[str]()
    document = run_asking(service, person, said)
    assert document.outcome == "promoted"
    assert person.asked == [50, 50, 50]
    assert [line for line in said if "yes" in line] == ["Waiting for a yes to 50 % of the traffic. Say yes to 50."]
    at_once = run(Service()).stages[0]
    assert len(document.stages[0].windows) == len(at_once.windows) + 2  # it was looked at all the time


def test_a_candidate_that_goes_bad_while_a_person_is_waited_for_goes_back() -> None:
    service = Service()

    def break_it() -> None:
        service.error = "candidate"

    document = run_asking(service, Person(says_yes=False, then=break_it), [])
    assert (document.outcome, len(document.stages)) == ("rolled_back", 1)


def test_without_a_yes_in_time_the_candidate_is_held() -> None:
    service, person = Service(), Person(says_yes=False)
    document = run_asking(service, person, [], approval_seconds=1.0)
    assert (document.outcome, document.stages[-1].decision) == ("held", "not_approved")
    assert "Nobody has said yes to 50 % of the traffic for 1 s." in document.reason
    assert service.log == ["10 %", "0 %"]


def test_only_a_later_stage_can_be_approved() -> None:
    with pytest.raises(ValidationError, match=r"(?s)approvals must be stages after the first.*received \[5, 30\]"):
        RolloutPolicy(approvals=(5, 30, 50))
    assert run(Service(), approvals=(50,)).outcome == "promoted"  # there is nobody to ask
