"""What the checks make of what they see."""

from typing import Any

import pytest

from stepworks.errors import AdmissionError, ClusterError, ParameterError
from stepworks.kube.api.references import Reference
from stepworks.kube.preflight.admission import _of_a_stand_in, _refused, build_pod
from stepworks.kube.preflight.amounts import parse_amounts
from stepworks.kube.preflight.claims import check_claims
from stepworks.kube.preflight.needs import Needs, PeakNeed, PodNeed, alike
from stepworks.kube.preflight.nodes import check_nodes, meets_expression
from stepworks.kube.preflight.quotas import check_quotas
from stepworks.kube.preflight.report import Check, Preflight, State
from stepworks.kube.preflight.text import text_of
from stepworks.kube.preflight.view import Class, Unseen, View
from tests.unit.kube.preflight.views import GPU, node, pods, view

NO_SCHEDULE = {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ({"operator": "In", "values": ["a", "b"]}, True),
        ({"operator": "In", "values": ["b"]}, False),
        ({"operator": "NotIn", "values": ["b"]}, True),
        ({"operator": "Exists"}, True),
        ({"operator": "DoesNotExist"}, False),
        ({"operator": "Gt", "values": ["1"]}, False),
        ({"key": "number", "operator": "Gt", "values": ["4"]}, True),
        ({"key": "number", "operator": "Lt", "values": ["5"]}, False),
        ({"key": "none", "operator": "NotIn", "values": ["a"]}, True),
        ({"key": "none", "operator": "In", "values": ["a"]}, False),
    ],
)
def test_a_requirement_holds_as_in_kubernetes(expression: dict[str, Any], holds: bool) -> None:
    assert meets_expression({"key": "letter", **expression}, {"letter": "a", "number": "5"}) == holds


@pytest.mark.parametrize("expression", [{"operator": "Like"}, {"operator": "Gt"}, {"operator": "Gt", "values": ["x"]}])
def test_what_no_api_server_takes_is_met_by_nothing(expression: dict[str, Any]) -> None:
    assert not meets_expression({"key": "a", **expression}, {"a": "1"})


def test_a_node_that_is_away_for_a_while_is_waited_for() -> None:
    drained = node(taints=({"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},))
    fitting, room = check_nodes(view(nodes=[drained]), pods())
    assert (fitting.state, room.state) == (State.FINE, State.WAITS)


def test_a_taint_by_the_name_of_a_device_may_be_tolerated_by_the_cluster() -> None:
    tainted = node(taints=({"key": GPU, "value": "present", "effect": "NoSchedule"},), allocatable={GPU: "8"})
    (check,) = check_nodes(view(nodes=[tainted]), pods(requests={GPU: "1"}))
    assert (check.state, "some clusters let a pod" in check.told) == (State.UNKNOWN, True)
    assert check_nodes(view(nodes=[tainted]), pods())[0].state == State.MISSING


def test_of_what_a_queue_admits_its_flavors_say_more() -> None:
    assert check_nodes(view(nodes=[node()]), pods(queue="team", node_selector={"a": "b"}))[0].state == State.UNKNOWN


def test_pods_that_do_not_need_each_other_take_turns() -> None:
    seen = view(nodes=[node()])
    fitting, room = check_nodes(seen, pods(requests={"cpu": "3"}, parallel=16))
    assert (fitting.state, room.told) == (State.FINE, "room for 2 of 16 such pods now")
    assert check_nodes(seen, pods(requests={"cpu": "3"}, together=16))[0].state == State.MISSING


def test_a_node_has_so_many_pods_and_no_more() -> None:
    used = {"node": {0: parse_amounts({"pods": "10"})}}
    _, room = check_nodes(view(nodes=[node()], used=used), pods())
    assert room.state == State.WAITS


def claim_view(*nodes: Any, modes: tuple[str, ...] = ("ReadWriteOnce",)) -> View:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": [*modes]}, "status": {"phase": "Bound"}}
    seen = view(nodes=[*nodes])
    seen._found[Reference("v1", "PersistentVolumeClaim", "data")] = claim
    return seen


@pytest.mark.parametrize(
    ("need", "modes", "state"),
    [
        ({"together": 2}, ("ReadWriteOnce",), State.UNKNOWN),  # one node may take both
        ({"together": 2, "requests": {"cpu": "6"}}, ("ReadWriteOnce",), State.MISSING),
        ({"together": 2}, ("ReadWriteOncePod",), State.MISSING),
        ({"together": 2}, ("ReadWriteMany",), State.FINE),
        ({"parallel": 2}, ("ReadWriteOnce",), State.UNKNOWN),
        ({}, ("ReadWriteOnce",), State.FINE),
    ],
)
def test_a_claim_for_one_node_is_for_pods_that_one_node_takes(
    need: dict[str, Any], modes: tuple[str, ...], state: State
) -> None:
    (check,) = check_claims(claim_view(node("a"), node("b"), modes=modes), [pods(claims=["data"], **need)])
    assert check.state == state


def refusal(received: str, kind: type[ClusterError] = AdmissionError) -> Check:
    return _of_a_stand_in(_refused("pod of train", kind("refused", received=received)))


@pytest.mark.parametrize(
    ("received", "state"),
    [
        ('admission webhook "validate.kyverno.svc" denied the request: untagged', State.UNKNOWN),
        ('violates PodSecurity "restricted:latest": allowPrivilegeEscalation', State.UNKNOWN),
        ("maximum cpu usage per Container is 500m, but limit is 1", State.MISSING),
        ("exceeded quota: team, requested: pods=1, used: pods=9, limited: pods=9", State.WAITS),
        ("exceeded quota: team, requested: storage=2Ti, used: storage=0, limited: storage=1Ti", State.MISSING),
        ("exceeded quota: team, requested: cpu=4,pods=1, used: cpu=7,pods=1, limited: cpu=8,pods=9", State.WAITS),
    ],
)
def test_a_refusal_counts_as_far_as_it_is_about_the_real_pod(received: str, state: State) -> None:
    assert refusal(received).state == state


def test_where_the_server_does_not_answer_nothing_is_told_of_the_pod() -> None:
    with pytest.raises(ClusterError):
        refusal("connection refused", ClusterError)


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}, True),
        ({"key": "dedicated", "value": "ml"}, True),
        ({"key": "dedicated", "value": "web"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_a_toleration_admits_to_a_tainted_node(toleration: dict[str, str], fits: bool) -> None:
    seen = view(nodes=[node(taints=(NO_SCHEDULE,))])
    (check,) = check_nodes(seen, pods(tolerations=[toleration]))
    assert check.state == (State.FINE if fits else State.MISSING)
    assert fits or "untolerated taint dedicated=ml" in check.told


def test_a_taint_that_only_prefers_keeps_nobody_out() -> None:
    seen = view(nodes=[node(taints=({**NO_SCHEDULE, "effect": "PreferNoSchedule"},))])
    assert check_nodes(seen, pods())[0].state == State.FINE


def test_a_cordoned_node_and_a_cluster_without_nodes() -> None:
    fitting, room = check_nodes(view(nodes=[node(cordoned=True)]), pods())
    assert (fitting.state, room.state) == (State.FINE, State.WAITS)  # it comes back
    (check,) = check_nodes(view(nodes=[]), pods(requests={GPU: "1"}))
    assert check.told.endswith("the cluster has no nodes; the nodes offer no accelerators")


def test_room_is_counted_node_by_node() -> None:
    nodes = [node("a"), node("b")]
    used = {"a": {0: parse_amounts({"cpu": "5", "pods": "1"})}, "b": {0: parse_amounts({"cpu": "6", "pods": "1"})}}
    seen = view(nodes=nodes, used=used)
    assert "room for 1 such pods now" in check_nodes(seen, pods(requests={"cpu": "3"}))[0].told
    _, room = check_nodes(seen, pods(requests={"cpu": "3"}, together=2))
    assert (room.state, room.told) == (State.WAITS, "room for 1 of 2 such pods now")


def test_what_gives_way_to_a_higher_priority_is_room() -> None:
    used = {"node": {10: parse_amounts({"cpu": "8"})}}
    classes = {"above": Class(100), "polite": Class(100, preempts=False), "below": Class(5)}
    seen = view(nodes=[node()], used=used, priority_classes=classes)
    states = {name: check_nodes(seen, pods(priority_class=name))[-1].state for name in classes}
    assert states == {"above": State.FINE, "polite": State.WAITS, "below": State.WAITS}


def test_what_is_not_seen_is_not_fine() -> None:
    (check,) = check_nodes(view(nodes=Unseen("runner may not list nodes")), pods())
    assert (check.state, check.told) == (State.UNKNOWN, "runner may not list nodes")
    fitting, room = check_nodes(view(nodes=[node()], used=Unseen("runner may not list pods")), pods())
    assert (fitting.state, room.state) == (State.FINE, State.UNKNOWN)
    (check,) = check_nodes(view(nodes=[node()]), pods(later=["node selector"]))
    assert check.told == "node selector: only the run knows"


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "team"}, "spec": {"hard": hard, **spec}, "status": {"used": used or {}}}


def by_scope(name: str, operator: str = "Exists", *values: str) -> dict[str, Any]:
    return {"scopeSelector": {"matchExpressions": [{"scopeName": name, "operator": operator, "values": list(values)}]}}


@pytest.mark.parametrize(
    ("scope", "state"),
    [
        ({}, State.MISSING),
        ({"scopes": ["Terminating"]}, State.MISSING),
        ({"scopes": ["NotTerminating"]}, State.FINE),
        ({"scopes": ["NotBestEffort"]}, State.MISSING),
        ({"scopes": ["BestEffort"]}, State.UNKNOWN),
        (by_scope("VolumeAttributesClass", "In", "fast"), State.UNKNOWN),
        (by_scope("PriorityClass", "In", "training"), State.MISSING),
        (by_scope("PriorityClass", "In", "inference"), State.FINE),
        (by_scope("PriorityClass", "NotIn", "training"), State.FINE),
        (by_scope("PriorityClass", "Exists"), State.MISSING),
        (by_scope("PriorityClass", "DoesNotExist"), State.FINE),
    ],
)
def test_a_quota_counts_the_pods_of_its_scope(scope: dict[str, Any], state: State) -> None:
    need = pods(priority_class="training")
    (check,) = check_quotas(view(quotas=[quota({"cpu": "0"}, **scope)]), Needs(peak={"requests.cpu": "1"}), [need], {})
    assert check.state == state


def test_what_outlives_the_run_comes_on_top_of_its_peak() -> None:
    server = pods(steps=["deploy"], maker="InferenceService", endless=True)
    needs = Needs(peak={"requests.cpu": "3", "pods": "2"})
    (check,) = check_quotas(view(quotas=[quota({"requests.cpu": "3"})]), needs, [pods(), server], {})
    assert (check.state, check.told) == (State.WAITS, "up to 4 requests.cpu at once, and 3 of 3 is left")
    (check,) = check_quotas(
        view(quotas=[quota({"requests.cpu": "9"}, {"requests.cpu": "1"})]), needs, [pods(), server], {}
    )
    assert (check.state, check.told) == (State.FINE, "of what is left, it takes 4 of 8 requests.cpu")


def test_a_scoped_quota_is_held_against_the_peak_of_its_class() -> None:
    peaks = [
        PeakNeed(amounts={"pods": "5"}),
        PeakNeed(priority_class="training", amounts={"pods": "2"}),
    ]
    both = [pods(), pods(priority_class="training")]
    scope = by_scope("PriorityClass", "In", "training")
    (check,) = check_quotas(
        view(quotas=[quota({"pods": "2"}, **scope)]), Needs(peak={"pods": "7"}, peaks=peaks), both, {}
    )
    assert check.told == "of what is left, it takes 2 of 2 pods"


def test_objects_are_counted_too() -> None:
    (check,) = check_quotas(view(quotas=[quota({"count/jobs.batch": "0"})]), Needs(), [pods()], {"count/jobs.batch": 1})
    assert check.told == "up to 1 count/jobs.batch at once, and 0 of 0 is left"


def test_needs_come_back_from_kubeflow_as_they_were() -> None:
    needs = Needs(pods=[pods(together=2, claims=["data"])], peak={"pods": "2"}, loops=["for-loop-1"])
    written = needs.to_json()
    written["pods"][0]["together"] = 2.0  # Kubeflow knows one kind of number
    assert Needs.from_json(written) == needs
    with pytest.raises(ParameterError, match="needs is wrong"):
        Needs.from_json({"pods": [{"steps": "train"}]})


def test_pods_of_one_shape_are_told_as_one() -> None:
    some = [pods(steps=["a"], claims=["x"]), pods(steps=["b"]), pods(steps=["loop/c"]), pods(steps=["d"], requests={})]
    assert [pod.who for pod in alike(some, whatever=["claims"])] == ["a and 2 others", "d"]
    assert [pod.who for pod in alike(some)] == ["a", "b and c", "d"]
    assert pods(maker="TrainJob").who == "the TrainJob of train"


def test_the_pod_that_is_sent_says_all_that_the_cluster_judges() -> None:
    need = pods(
        node_terms=[{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}],
        priority_class="training",
        queue="team",
        claims=["data"],
        image_pull_secrets=["pull"],
    )
    own, made = build_pod(need, "runner"), build_pod(need.model_copy(update={"maker": "Job", "endless": True}), "")
    assert own["metadata"]["labels"] == {
        "kueue.x-k8s.io/queue-name": "team",
        "stepworks.dev/priority-class": "training",
    }
    assert (own["spec"]["serviceAccountName"], made["spec"]["serviceAccountName"]) == ("runner", "default")
    assert made["spec"]["priorityClassName"] == "training"
    assert "activeDeadlineSeconds" in own["spec"]
    assert "activeDeadlineSeconds" not in made["spec"]
    assert own["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]


def found(*states: State) -> Preflight:
    checks = [Check("nodes", f"step-{number}", state, "told", "Do it.") for number, state in enumerate(states)]
    return Preflight("team", "runner", tuple(checks))


def test_the_summary_says_what_counts() -> None:
    assert found(State.FINE).summary == "The pipeline can run in team: 1 fine."
    assert found(State.FINE, State.WAITS).summary == "The pipeline can run in team: 1 fine, 1 waits."
    unseen = found(State.FINE, State.UNKNOWN)
    assert unseen.summary == "The pipeline can run as far as could be seen in team: 1 fine, 1 could not check."
    assert not found(State.FINE, State.MISSING).can_run
    assert found(State.UNKNOWN).is_blind
    assert not unseen.is_fine


def test_the_worst_is_told_first_and_long_lines_are_broken() -> None:
    checks = (
        Check("nodes", "a", State.FINE, "it fits"),
        Check("claim", "b", State.MISSING, "word " * 40 + "\n    - a rule to copy", "Create it."),
    )
    text = text_of(Preflight("team", "runner", checks), width=80)
    assert text.index("MISSING") < text.index("FINE")
    assert max(map(len, text.splitlines())) <= 80
    assert "                      - a rule to copy" in text
    assert "→ Create it." in text


def test_nothing_of_a_need_is_lost_in_json() -> None:
    assert PodNeed.model_validate(pods(together=3).model_dump(mode="json")) == pods(together=3)
