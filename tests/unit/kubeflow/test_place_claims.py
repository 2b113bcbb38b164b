"""Claims and the tasks that have them: who may share, and what only a run's own block gives."""

from collections.abc import Callable
from typing import Any

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.placement.target import Target

Make = Callable[[str], Pipeline]

PLAIN: dict[str, Any] = {"cpu": {"request": "4", "limit": "4"}, "memory": {"request": "16Gi", "limit": "16Gi"}}


def target(*claims: tuple[str, dict[str, Any]]) -> Target:
    return Target.model_validate(
        {
            "name": "here",
            "images": {"cpu": "example/cpu:1"},
            "placements": {"plain": PLAIN, "effects": {**PLAIN, "cache": False}},
            "roles": {"small": "plain", "effects": "effects"},
            "claims": dict(claims),
        }
    )


RWO = {"claim": "work", "mount_path": "/mnt/work", "access_mode": "ReadWriteOnce"}
SHARED = """
from kfp import dsl
from stepworks.components.operations.run_claims import run_claims
from stepworks.kubeflow.pipeline import claim_path

def use(**mounts):
    return place(add(a=1, b=1), "small", mounts=["work"])

@pipeline(version="1.0.0")
def tiny(n: int = 1):
    \"\"\"Share a claim.\"\"\"
"""


def build(make_pipeline: Make, lines: list[str], work: dict[str, Any]) -> Any:
    return make_pipeline(SHARED + "\n".join(f"    {line}" for line in lines) + "\n").build(target(("work", work)))


AT_ONCE = {
    "side by side": (["use()", "use()"], "add and add-2"),
    "a branch of a fork": (["a = use()", "use().after(a)", "use().after(a)"], "add-2 and add-3"),
    "in a loop": (["with dsl.ParallelFor([1, 2]):", "    use()"], "iterations of for-loop-2/add"),
    "a chain in a loop": (
        ["with dsl.ParallelFor([1, 2], parallelism=3):", "    a = use()", "    use().after(a)"],
        "iterations of for-loop-2/add",
    ),
    "a loop and what is beside it": (
        ["with dsl.ParallelFor([1], parallelism=1):", "    use()", "use()"],
        "add-2 and for-loop-2/add",
    ),
    "two conditions": (
        ["with dsl.If(n == 1):", "    use()", "with dsl.If(n == 2):", "    use()"],
        "condition-1/add and condition-2/add-2",
    ),
    "branches in a loop": (
        ["with dsl.ParallelFor([1, 2]) as i:", "    with dsl.If(n == i):", "        use()"],
        "iterations of for-loop-2/condition-3/add",
    ),
}
ONE_BY_ONE = {
    "a chain": ["a = use()", "b = place(add(a=a.output, b=1), 'small')", "use().after(b)"],
    "a loop that waits": ["with dsl.ParallelFor([1, 2], parallelism=1):", "    a = use()", "    use().after(a)"],
    "branches of one condition": [
        "with dsl.If(n == 1):",
        "    use()",
        "with dsl.Elif(n == 2):",
        "    use()",
        "with dsl.Else():",
        "    use()",
    ],
    "before a loop": [
        "a = use()",
        "with dsl.ParallelFor([1, 2], parallelism=1):",
        "    place(add(a=a.output, b=2), 'small', mounts=['work'])",
    ],
    "an exit step": ["with dsl.ExitHandler(use()):", "    use()"],
    "one alone": ["use()", "place(add(a=1, b=2), 'small')"],
}


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod"])
@pytest.mark.parametrize("name", AT_ONCE)
def test_a_claim_of_one_node_in_tasks_that_may_run_at_once_is_refused(
    make_pipeline: Make, name: str, mode: str
) -> None:
    lines, who = AT_ONCE[name]
    with pytest.raises(ConfigurationError, match=f"The claim work is {mode}, and tasks") as caught:
        build(make_pipeline, lines, RWO | {"access_mode": mode})
    assert caught.value.received == who
    assert all(way in str(caught.value) for way in ("ReadWriteMany", "object storage", ".after()"))


@pytest.mark.parametrize("name", AT_ONCE)
def test_a_claim_of_many_nodes_may_be_shared(make_pipeline: Make, name: str) -> None:
    assert build(make_pipeline, AT_ONCE[name][0], RWO | {"access_mode": "ReadWriteMany"})


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_a_claim_of_one_node_goes_from_task_to_task(make_pipeline: Make, name: str) -> None:
    assert build(make_pipeline, ONE_BY_ONE[name], RWO)


MADE = {"create": {"size": "1Gi"}, "mount_path": "/mnt/work", "access_mode": "ReadWriteOnce"}
WORKSPACE = {"workspace": {"size": "1Gi"}, "access_mode": "ReadWriteOnce"}


@pytest.mark.parametrize("work", [RWO, MADE, WORKSPACE], ids=["claim", "create", "workspace"])
def test_the_rule_holds_for_what_a_run_makes_too(make_pipeline: Make, work: dict[str, Any]) -> None:
    body = """
def use():
    return place(fail(how=claim_path("work")), "small", mounts=["work"])

@pipeline(version="1.0.0")
def tiny():
    \"\"\"Share a volume of the run.\"\"\"
    with run_claims("work"):
        first = use()
        second = use()
"""
    head = SHARED.partition("def use")[0]
    with pytest.raises(ConfigurationError, match=r"tasks that may run at once have it"):
        make_pipeline(head + body).build(target(("work", work)))
    assert make_pipeline(head + body + "        second.after(first)\n").build(target(("work", work)))


def test_a_made_claim_is_known_in_an_inner_graph(make_pipeline: Make) -> None:
    lines = ["with run_claims('work'):", "    use()", "    with dsl.If(n == 1):", "        use()"]
    with pytest.raises(ConfigurationError, match="tasks that may run at once") as caught:
        build(make_pipeline, lines, MADE)
    assert caught.value.received == "exit-handler-1/add and exit-handler-1/condition-2/add-2"


@pytest.mark.parametrize("work", [MADE, WORKSPACE], ids=["create", "workspace"])
@pytest.mark.parametrize("line", ["use()", "place(fail(how=claim_path('work')), 'small')"])
def test_what_a_run_makes_is_used_within_run_claims(make_pipeline: Make, work: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError, match="work does not outlive a run on the target here"):
        build(make_pipeline, [line], work)


@pytest.mark.parametrize(
    ("lines", "work", "message"),
    [
        (["with run_claims():", "    use()"], RWO, "a block without claims"),
        (
            ["with run_claims('work'):", "    use()"] * 2,
            RWO,
            "a second one",
        ),
        (["with run_claims('work'):", "    use()"], WORKSPACE, "would not get the workspace work"),
        (["with run_claims('other'):", "    use()"], RWO, "no claim other"),
    ],
)
def test_a_wrong_use_of_run_claims_is_told(
    make_pipeline: Make, lines: list[str], work: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(make_pipeline, lines, work)
    assert message in str(caught.value)


def test_a_block_in_a_loop_is_told(make_pipeline: Make) -> None:
    lines = ["with dsl.ParallelFor([1, 2]):", "    with run_claims('work'):", "        use()"]
    with pytest.raises(ConfigurationError, match="cannot be built"):
        build(make_pipeline, lines, RWO)


def test_kfp_has_one_workspace(make_pipeline: Make) -> None:
    tiny = make_pipeline(SHARED + "    with run_claims('work', 'more'):\n        use()\n")
    with pytest.raises(ConfigurationError, match="one workspace for a run"):
        tiny.build(target(("work", WORKSPACE), ("more", WORKSPACE)))


def test_two_made_claims_at_one_path_are_refused(make_pipeline: Make) -> None:
    tiny = make_pipeline(
        SHARED
        + "    with run_claims('work', 'more'):\n"
        + "        place(add(a=1, b=1), 'small', mounts=['work', 'more'])\n"
    )
    with pytest.raises(ConfigurationError, match="cannot mount all that it asks for"):
        tiny.build(target(("work", MADE), ("more", MADE)))
