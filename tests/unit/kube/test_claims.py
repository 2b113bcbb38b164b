"""Claims of a run against an API server that keeps state, through the official client."""

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stepworks.components.operations.clean_up_run.component import clean_up_run
from stepworks.components.operations.make_claim.component import make_claim
from stepworks.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ConfigurationError,
    ParameterError,
    ResourceError,
    RunError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.claims import build_claim
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.runs.adoption import Adoption
from stepworks.kube.runs.belonging import RUN_LABEL, belonging_to
from stepworks.operations.clean_up import clean_up
from stepworks.operations.make_claim import make_run_claim
from stepworks.supervisor.supervisor import Supervisor
from tests.unit.kube.api_server import ApiServer, Fault

RUN = "0f8d5a52-3b0e-4c41-9f0d-0a4bb6d2a111"
CLAIMS, PVC = "persistentvolumeclaims", "PersistentVolumeClaim"


def make(cluster: Cluster, wanted: Manifest) -> Manifest:
    """Make a claim as the step does, or adopt it."""
    made = belonging_to(cluster, wanted, wanted["metadata"]["labels"][RUN_LABEL])
    return Adoption(cluster, made, say=print).make_or_adopt()


def claim(run: str = RUN, **changed: Any) -> dict[str, Any]:
    return build_claim("scratch", run, **({"size": "10Gi", "access_mode": "ReadWriteOnce"} | changed))


def test_a_claim_is_named_and_labelled_by_its_run() -> None:
    assert claim(storage_class="fast") == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": f"scratch-{RUN}", "labels": {"stepworks.dev/run": RUN}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Gi"}},
            "storageClassName": "fast",
        },
    }


@pytest.mark.parametrize("storage_class", [None, ""])
def test_the_default_class_is_left_out(storage_class: str | None) -> None:
    assert "storageClassName" not in claim(storage_class=storage_class)["spec"]


def test_a_claim_is_made_once_and_adopted_by_a_retry(server: ApiServer, cluster: Cluster) -> None:
    made = make(cluster, claim())
    assert server.objects[CLAIMS, f"scratch-{RUN}"]["spec"] == claim()["spec"]
    assert make(cluster, claim()) == made
    get = f"get {CLAIMS} scratch-{RUN}"
    assert [call for call in server.calls if CLAIMS in call] == [get, f"create {CLAIMS}", get]


def test_the_workflow_of_the_run_owns_a_claim(server: ApiServer, cluster: Cluster) -> None:
    server.put({"metadata": {"name": "flow", "labels": {"pipeline/runid": RUN}}}, "workflows")
    owner = make(cluster, claim())["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("Workflow", "flow")


def test_a_claim_of_another_size_is_told_and_adopted(
    server: ApiServer, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    make(cluster, claim())
    make(cluster, claim(size="20Gi"))
    assert "was made from another manifest than this step has now" in capsys.readouterr().out


def test_a_name_that_is_too_long_is_cut() -> None:
    assert len(build_claim("n" * 40, RUN, size="1Gi", access_mode="ReadWriteOnce")["metadata"]["name"]) == 63


@pytest.mark.parametrize("run", ["", "a/b"])
def test_a_run_that_no_claim_can_be_named_by_is_refused(run: str) -> None:
    with pytest.raises(ConfigurationError, match="of the run"):
        claim(run)


@pytest.mark.parametrize("labels", [{RUN_LABEL: "another"}, {}, None])
def test_a_claim_of_somebody_else_is_refused(server: ApiServer, cluster: Cluster, labels: Any) -> None:
    metadata = {"name": f"scratch-{RUN}", "namespace": "team", "labels": labels}
    server.put({"apiVersion": "v1", "kind": PVC, "metadata": metadata}, CLAIMS)
    with pytest.raises(AlreadyExistsError, match="there already") as caught:
        make(cluster, claim())
    assert "kubectl -n team describe persistentvolumeclaim scratch-" in str(caught.value)


def test_a_claim_that_is_being_deleted_is_waited_for_and_made_anew(server: ApiServer, cluster: Cluster) -> None:
    old = make(cluster, claim())["metadata"]["uid"]
    server.objects[CLAIMS, f"scratch-{RUN}"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def remove() -> None:
        server.wait_for_watches(1)
        server.remove(CLAIMS, f"scratch-{RUN}")

    thread = threading.Thread(target=remove, daemon=True)
    thread.start()
    assert make(cluster, claim())["metadata"]["uid"] != old
    thread.join()


def test_only_the_claims_of_the_run_are_deleted_and_twice_is_harmless(server: ApiServer, cluster: Cluster) -> None:
    for each in (claim(), claim("another-run"), build_claim("second", RUN, size="1Gi", access_mode="ReadWriteMany")):
        make(cluster, each)
    clean_up(RUN, [], objects=True)
    assert list(server.objects) == [(CLAIMS, "scratch-another-run")]
    clean_up(RUN, [], objects=True)
    assert list(server.objects) == [(CLAIMS, "scratch-another-run")]


def test_a_claim_that_somebody_deleted_meanwhile_is_no_error(
    server: ApiServer, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    make(cluster, claim())
    capsys.readouterr()
    server.fail("delete", Fault(404))
    clean_up(RUN, [], objects=True)
    assert capsys.readouterr().out == "There was nothing to delete.\n"


def test_a_claim_that_vanishes_while_it_is_looked_at_is_made(server: ApiServer, cluster: Cluster) -> None:
    server.fail("create", Fault(409))
    make(cluster, claim())
    assert (CLAIMS, f"scratch-{RUN}") in server.objects


def test_what_cannot_be_deleted_does_not_keep_the_rest(
    server: ApiServer, cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        make(cluster, build_claim(name, RUN, size="1Gi", access_mode="ReadWriteOnce"))
    capsys.readouterr()
    server.forbid("delete", CLAIMS)
    stubborn, plain = tmp_path / "one" / RUN, tmp_path / "two" / RUN
    stubborn.parent.mkdir()
    stubborn.write_text("a file cannot be deleted as a folder")
    plain.mkdir(parents=True)
    with pytest.raises(RunError, match="2 things of the run are not deleted") as caught:
        clean_up(RUN, [str(stubborn.parent), str(plain.parent)], objects=True)
    assert list(server.objects) == [(CLAIMS, f"a-{RUN}")]
    assert not plain.exists()
    assert f"The folder {stubborn} cannot be deleted (NotADirectoryError" in caught.value.received
    assert f"refused to delete the PersistentVolumeClaim a-{RUN} in the namespace team" in caught.value.received
    assert "delete the folder by hand. Add this rule to a Role" in caught.value.what_to_do
    assert capsys.readouterr().out == (f"Deleted the folder {plain}, the {PVC} b-{RUN}, the {PVC} c-{RUN}.\n")


def test_one_failure_is_told_as_it_is(server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / RUN).write_text("a file")
    with pytest.raises(ResourceError, match=r"The folder .* cannot be deleted"):
        clean_up(RUN, [str(tmp_path)], objects=True)
    assert capsys.readouterr().out == ""
    assert server.calls == [f"list {kind}" for kind in ("jobs", "inferenceservices", "configmaps", "secrets", CLAIMS)]
    assert {query["labelSelector"] for query in server.queries} == {f"{RUN_LABEL}={RUN}"}


def test_without_a_run_nothing_is_selected(server: ApiServer, cluster: Cluster) -> None:
    with pytest.raises(ConfigurationError, match="id of the run"):
        clean_up("", [], objects=True)
    assert server.calls == []


@pytest.mark.parametrize("verb", ["create", "get", "delete"])
def test_a_missing_permission_is_told_by_verb_and_resource(server: ApiServer, cluster: Cluster, verb: str) -> None:
    if verb in ("get", "delete"):
        make(cluster, claim())
    makes = verb in ("create", "get")
    ask = partial(make, cluster, claim()) if makes else partial(clean_up, RUN, [], objects=True)
    server.forbid(verb, CLAIMS)
    with pytest.raises(AccessDeniedError, match=f"refused to {verb} .*PersistentVolumeClaim") as caught:
        ask()
    assert f'resources: ["{CLAIMS}"]\n      verbs: ["{verb}"]' in caught.value.what_to_do
    assert f"cannot {verb} resource" in caught.value.received


def test_the_steps_make_adopt_and_delete(server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"name": "scratch", "run": RUN, "size": "10Gi", "access_mode": "ReadWriteOnce", "storage_class": ""}
    for _ in range(2):
        make_claim.python_func(**arguments, claim=str(tmp_path / "claim"))
        assert (tmp_path / "claim").read_text() == f"scratch-{RUN}"
    clean_up_run.python_func(run=RUN, objects=True, folders=[])
    clean_up_run.python_func(run=RUN, objects=True, folders=[])
    assert server.objects == {}
    assert capsys.readouterr().out.splitlines() == [
        f"Made the {PVC} scratch-{RUN} in the namespace team.",
        f"Adopted the {PVC} scratch-{RUN} that an earlier attempt made.",
        f"Deleted the {PVC} scratch-{RUN}.",
        "There was nothing to delete.",
    ]


def test_on_a_laptop_no_cluster_is_asked(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBECONFIG")
    with Supervisor(tmp_path / "logs", claims={"/mnt/scratch": tmp_path / "scratch"}) as supervisor:
        for name, value in supervisor.environment().items():
            monkeypatch.setenv(name, value)
        made = make_run_claim("scratch", RUN, "1Gi", "ReadWriteOnce", "fast")
        (tmp_path / "scratch" / RUN / "tables").mkdir(parents=True)
        (tmp_path / "scratch" / "of another").mkdir()
        clean_up_run.python_func(run=RUN, objects=True, folders=["/mnt/scratch"])
    assert made == f"scratch-{RUN}"
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["of another"]
    assert server.calls == []
    assert "Deleted the folder" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"size": "1.5Gi"}, "size"), ({"size": "0"}, "above 0"), ({"access_mode": "RWO"}, "access")],
)
def test_a_wrong_parameter_is_told(server: ApiServer, changed: dict[str, str], message: str) -> None:
    arguments = {"name": "scratch", "run": RUN, "size": "1Gi", "access_mode": "ReadWriteOnce", "storage_class": ""}
    with pytest.raises(ParameterError, match=message):
        make_run_claim(**(arguments | changed))
    assert server.calls == []
