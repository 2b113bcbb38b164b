"""Objects through the official client, on an API server that keeps them and fails as it is told to."""

from collections.abc import Callable
from typing import Any

import pytest

from stepworks.errors import (
    AccessDeniedError,
    AdmissionError,
    AlreadyExistsError,
    ClusterError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    StepworksError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import REQUEST_ANNOTATION, apply, create, delete, find, get, list_objects, patch
from stepworks.kube.api.pods import evict, read_log
from stepworks.kube.api.references import Reference, Selection, reference_to
from stepworks.kube.kinds.manifests import Manifest
from tests.unit.kube.api_handler import Fault
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.conftest import JumpingClock

TRAIN = Reference("batch/v1", "Job", "train")
JOBS = Selection("batch/v1", "Job")
CONFLICT = Fault(
    409,
    message="Apply failed with 1 conflict",
    more={
        "reason": "Conflict",
        "details": {
            "causes": [
                {"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": 'conflict with "kubectl"'}
            ]
        },
    },
)
INVALID = Fault(
    422,
    message="Job is invalid",
    more={"details": {"causes": [{"field": "spec.template", "message": "x" * 500 + ": field is immutable"}]}},
)
QUOTA = Fault(403, message='pods "a" is forbidden: exceeded quota: team, requested: pods=1, used: pods=1')
NO_ACCOUNT = Fault(
    403,
    message='pods "a" is forbidden: error looking up service account team/runner: serviceaccount "runner" not found',
)
UNTYPED = Fault(500, message="failed to create typed patch object (/a): .spec.oops: field not declared in schema")
NOTHING_NEAR = "a kind that the cluster serves"
NO_NAMESPACE = Fault(404, message='namespaces "team" not found', more={"details": {"kind": "namespaces"}})


def job(name: str = "train", **spec: Any) -> Manifest:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def test_an_object_is_applied_read_changed_and_deleted(server: ApiServer, cluster: Cluster) -> None:
    assert find(cluster, TRAIN) is None
    applied = apply(cluster, job(parallelism=2))
    assert apply(cluster, job(parallelism=3))["metadata"]["uid"] == applied["metadata"]["uid"]
    assert server.queries[-1] == {"fieldManager": "stepworks", "fieldValidation": "Strict", "force": "false"}
    assert patch(cluster, TRAIN, {"spec": {"suspend": True}})["spec"] == {"parallelism": 3, "suspend": True}
    assert get(cluster, TRAIN)["spec"] == {"parallelism": 3, "suspend": True}
    assert not delete(cluster, TRAIN, uid="of another")
    assert delete(cluster, TRAIN, uid=applied["metadata"]["uid"])
    assert not delete(cluster, TRAIN)
    with pytest.raises(NotFoundError, match="There is no Job train in the namespace team"):
        get(cluster, TRAIN)


def test_a_dry_run_stores_nothing(server: ApiServer, cluster: Cluster) -> None:
    assert apply(cluster, job(), dry_run=True)["kind"] == "Job"
    assert create(cluster, job(), dry_run=True)["kind"] == "Job"
    assert server.objects == {}


def test_requests_name_stepworks_and_carry_the_token(server: ApiServer, cluster: Cluster) -> None:
    find(cluster, TRAIN)
    assert server.headers["User-Agent"].startswith("stepworks/")
    assert server.headers["authorization"] == "Bearer secret"


def test_a_long_list_comes_in_pages_and_says_what_its_members_are(server: ApiServer, cluster: Cluster) -> None:
    for number in range(1201):
        server.put(job(f"job-{number}"), "jobs")
    listed = list_objects(cluster, JOBS)
    assert [each["metadata"]["name"] for each in listed] == [f"job-{number}" for number in range(1201)]
    assert {(each["apiVersion"], each["kind"]) for each in listed} == {("batch/v1", "Job")}
    assert server.calls == ["list jobs"] * 3


def test_a_list_that_grows_too_old_between_two_pages_begins_again(server: ApiServer, cluster: Cluster) -> None:
    for number in range(501):
        server.put(job(f"job-{number}"), "jobs")
    server.fail("list", Fault(503, carried_out=True), Fault(503))
    server.expire_between_pages = True
    assert len(list_objects(cluster, JOBS)) == 501
    limits = [query.get("limit") for query in server.queries]
    assert limits == ["500", "500", "500", "500", None]


def test_selectors_choose(server: ApiServer, cluster: Cluster) -> None:
    server.put(job("a") | {"metadata": {"name": "a", "labels": {"run": "1"}}}, "jobs")
    server.put(job("b"), "jobs")
    for selection in (
        Selection("batch/v1", "Job", labels="run=1"),
        Selection("batch/v1", "Job", fields="metadata.name=a"),
    ):
        assert [each["metadata"]["name"] for each in list_objects(cluster, selection)] == ["a"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda cluster: find(cluster, TRAIN),
        lambda cluster: list_objects(cluster, JOBS),
        lambda cluster: apply(cluster, job()),
        lambda cluster: patch(cluster, TRAIN, {}),
        lambda cluster: create(cluster, job("another")),
    ],
)
def test_a_request_that_may_be_repeated_is_repeated(
    server: ApiServer, cluster: Cluster, clock: JumpingClock, ask: Callable[[Cluster], Any]
) -> None:
    apply(cluster, job())
    for verb in ("get", "list", "patch", "create"):
        server.fail(verb, Fault(), Fault(503), Fault(500), Fault(429, headers={"Retry-After": "3"}))
    ask(cluster)
    assert len(clock.slept) == 4
    assert clock.slept[-1] == 3
    assert clock.slept[:3] == sorted(clock.slept[:3])


def test_after_a_minute_a_failing_server_is_told(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    server.fail("get", *[Fault(503, message="etcd is away")] * 100)
    with pytest.raises(ClusterError, match="failed to get the Job train in the namespace team") as caught:
        find(cluster, TRAIN)
    assert "etcd is away" in caught.value.received
    assert 50 < clock.now() <= 60


def test_a_server_that_drops_every_connection_is_told(server: ApiServer, cluster: Cluster) -> None:
    server.fail("get", *[Fault()] * 100)
    with pytest.raises(ClusterError, match="did not answer when asked to get the Job train"):
        find(cluster, TRAIN)


@pytest.mark.parametrize("status", [0, 500, 504])
def test_an_object_that_was_created_by_a_lost_request_is_ours(server: ApiServer, cluster: Cluster, status: int) -> None:
    server.fail("create", Fault(status, carried_out=True))
    created = create(cluster, job())
    assert created["metadata"]["annotations"][REQUEST_ANNOTATION]
    assert server.calls == ["create jobs", "create jobs", "get jobs train"]


def test_an_object_of_somebody_else_is_not_taken_for_ours(server: ApiServer, cluster: Cluster) -> None:
    apply(cluster, job())
    for fault in (None, Fault()):
        if fault:
            server.fail("create", fault)
        with pytest.raises(AlreadyExistsError, match="The Job train is there already") as caught:
            create(cluster, job())
        assert "kubectl -n team get job train" in caught.value.what_to_do


def test_a_deletion_whose_answer_was_lost_is_a_deletion(server: ApiServer, cluster: Cluster) -> None:
    uid = apply(cluster, job())["metadata"]["uid"]
    server.fail("delete", Fault(carried_out=True))
    assert delete(cluster, TRAIN, uid=uid)


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (CONFLICT, ConflictError, '.spec.replicas: conflict with "kubectl"'),
        (INVALID, AdmissionError, "… xxx"),
        (INVALID, AdmissionError, "another name, or delete the present one"),
        (QUOTA, AdmissionError, "have the quota raised"),
        (NO_ACCOUNT, AdmissionError, "kubectl -n team create serviceaccount runner"),
        (UNTYPED, AdmissionError, ".spec.oops: field not declared"),
        (NO_NAMESPACE, NotFoundError, "kubectl create namespace team"),
        (Fault(400, message="admission webhook says no"), AdmissionError, "admission webhook says no"),
    ],
)
def test_what_is_refused_is_told_at_once(
    server: ApiServer, cluster: Cluster, clock: JumpingClock, fault: Fault, kind: type[StepworksError], told: str
) -> None:
    server.fail("patch", fault)
    with pytest.raises(kind) as caught:
        apply(cluster, job())
    assert told in str(caught.value)
    assert clock.slept == []


def test_a_missing_permission_is_told_as_the_rule_that_grants_it(server: ApiServer, cluster: Cluster) -> None:
    server.forbid("patch", "jobs", group="batch")
    with pytest.raises(AccessDeniedError) as caught:
        apply(cluster, job())
    assert str(caught.value) == (
        "Kubernetes refused to apply the Job train in the namespace team: the permission is missing\n"
        '  Received: 403 Forbidden: jobs is forbidden: User "system:serviceaccount:team:runner" cannot patch resource '
        '"jobs" in API group "batch"\n'
        "  Expected: the ServiceAccount runner of the namespace team may create, patch jobs\n"
        "  What to do: Add this rule to a Role that is bound to the ServiceAccount runner of the namespace team; "
        "cluster/base/roles.yaml has all that each step needs:\n"
        '    - apiGroups: ["batch"]\n'
        '      resources: ["jobs"]\n'
        '      verbs: ["create", "patch"]'
    )


def test_a_server_that_comes_up_refuses_what_it_will_allow(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    apply(cluster, job())
    server.fail("get", Fault())
    server.forbid("get", "jobs", times=3)
    assert find(cluster, TRAIN) is not None
    server.fail("get", Fault())
    server.forbid("get", "jobs", times=100)
    began = clock.now()
    with pytest.raises(AccessDeniedError):
        find(cluster, TRAIN)
    assert 10 < clock.now() - began < 21


@pytest.mark.parametrize(
    ("api_version", "kind", "expected", "what_to_do"),
    [
        ("batch/v1", "Jbo", "Job of batch/v1", "Use what the cluster serves."),
        ("batch/v1beta1", "Job", "Job of batch/v1", "Use what the cluster serves."),
        (
            "trainer.kubeflow.org/v1alpha1",
            "TrainJob",
            "a kind that the cluster serves",
            "Have Kubeflow Trainer installed",
        ),
        ("example.com/v1", "Thing", "a kind that the cluster serves", "have the CRD and its controller installed"),
    ],
)
def test_an_unknown_kind_is_told_with_what_to_install(
    cluster: Cluster, api_version: str, kind: str, expected: str, what_to_do: str
) -> None:
    with pytest.raises(NotFoundError, match=f"does not know the kind {kind} of {api_version}") as caught:
        get(cluster, Reference(api_version, kind, "a"))
    assert caught.value.expected == expected
    assert what_to_do in caught.value.what_to_do


def test_an_object_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be named") as caught:
        reference_to({"apiVersion": "v1", "metadata": {"generateName": "a-"}})
    assert caught.value.received == "apiVersion: 'v1', kind: None, name: None"


def test_a_log_is_read_and_its_absence_explained(server: ApiServer, cluster: Cluster) -> None:
    server.put({"metadata": {"name": "train-0"}}, "pods")
    assert "train-0" in read_log(cluster, "train-0", container="main", previous=True)
    assert server.queries[-1] == {
        "tailLines": "50",
        "limitBytes": "1048576",
        "container": "main",
        "previous": "true",
    }
    server.fail("get", Fault(400, message='container "main" in pod "train-0" is waiting to start'))
    with pytest.raises(ClusterError, match="cannot read the log of the Pod train-0") as caught:
        read_log(cluster, "train-0")
    assert "waiting to start" in caught.value.received


def test_an_eviction_waits_for_the_disruption_budget(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    server.fail("create", Fault(429, message="Cannot evict pod", headers={"Retry-After": "10"}))
    evict(cluster, "train-0", uid="one")
    assert clock.slept == [10]
    assert server.calls[-1] == "create pods train-0 eviction"
    server.fail("create", *[Fault(429, message="Cannot evict pod", headers={"Retry-After": "10"})] * 10)
    with pytest.raises(ClusterError, match="kept refusing to evict the Pod train-0") as caught:
        evict(cluster, "train-0")
    assert "PodDisruptionBudgets" in caught.value.what_to_do
