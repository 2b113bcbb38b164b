"""The exit step deletes by the run's label whatever the run made."""

from typing import Any

import pytest

from stepworks.errors import AccessDeniedError, RunError
from stepworks.kube.runs.belonging import KEEP_LABEL, RUN_LABEL
from stepworks.operations.clean_up import clean_up
from stepworks.supervisor import ENVIRONMENT_VARIABLE
from tests.unit.kube.api_server import ApiServer

RUN = "0f8d5a52"


def put(server: ApiServer, plural: str, name: str, run: str = RUN, **labels: str) -> None:
    manifest: dict[str, Any] = {"metadata": {"name": name, "labels": {RUN_LABEL: run, **labels}}}
    server.put(manifest, plural)


def test_every_kind_goes_and_what_is_kept_stays(server: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    for plural in ("persistentvolumeclaims", "configmaps", "secrets", "jobs", "inferenceservices"):
        put(server, plural, "of-the-run")
        put(server, plural, "of-another", run="another")
    put(server, "inferenceservices", "serves-on", **{KEEP_LABEL: "true"})
    clean_up(RUN, [], objects=True)
    assert {name for _, name in server.objects} == {"of-another", "serves-on"}
    assert capsys.readouterr().out == (
        "Deleted the Job of-the-run, the InferenceService of-the-run, the ConfigMap of-the-run, "
        "the Secret of-the-run, the PersistentVolumeClaim of-the-run.\n"
    )


def test_kinds_that_the_cluster_does_not_know_are_not_asked_for(server: ApiServer) -> None:
    clean_up(RUN, [], objects=True)
    assert not [call for call in server.calls if "trainjobs" in call or "pytorchjobs" in call]


def test_what_may_not_be_listed_is_a_failure_and_keeps_nothing_else(server: ApiServer) -> None:
    put(server, "configmaps", "of-the-run")
    server.forbid("list", "jobs", group="batch")
    with pytest.raises(AccessDeniedError, match="refused to list objects of the kind Job") as caught:
        clean_up(RUN, [], objects=True)
    assert 'apiGroups: ["batch"]\n      resources: ["jobs"]\n      verbs: ["list"]' in caught.value.what_to_do
    assert server.objects == {}


def test_a_kind_that_the_run_may_not_even_create_is_told_and_is_no_failure(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    put(server, "configmaps", "of-the-run")
    server.denied = {("list", "jobs"), ("create", "jobs")}
    clean_up(RUN, [], objects=True)
    assert server.objects == {}
    assert capsys.readouterr().out == (
        "Not looked for: objects of the kind Job, which the run may neither list nor create.\n"
        "Deleted the ConfigMap of-the-run.\n"
    )


def test_several_failures_are_told_together(server: ApiServer) -> None:
    put(server, "jobs", "one")
    put(server, "jobs", "two")
    server.forbid("delete", "jobs", group="batch", times=2)
    with pytest.raises(RunError, match="2 things of the run are not deleted") as caught:
        clean_up(RUN, [], objects=True)
    assert "the Job one" in caught.value.received
    assert "the Job two" in caught.value.received


@pytest.mark.parametrize("named", [True, False])
def test_a_local_run_deletes_what_it_made_in_the_cluster_that_it_was_given(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    put(server, "jobs", "of-the-run")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "http://127.0.0.1:9/token")
    if not named:
        monkeypatch.delenv("KUBECONFIG")
    clean_up(RUN, [], objects=True)
    assert bool(server.objects) is not named
