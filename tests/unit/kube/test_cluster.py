"""Connecting: what a kubeconfig or a ServiceAccount says, and credentials that change."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.config import incluster_config

from stepworks.errors import ClusterError, ConfigurationError
from stepworks.kube.api import cluster as cluster_module
from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import find
from stepworks.kube.api.references import Reference
from stepworks.kube.kinds.rules import JOB_COMPLETE
from stepworks.kube.waiting.wait import wait
from tests.unit.kube.api_handler import Fault
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.conftest import JumpingClock
from tests.unit.kube.test_wait import job, waiting
from tests.waiting import wait_for

TRAIN = Reference("batch/v1", "Job", "train")


@pytest.fixture
def service_account(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a pod finds of its ServiceAccount; the test's server speaks plain HTTP."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    for name, content in (("token", "first"), ("ca.crt", "a certificate"), ("namespace", "team")):
        (folder / name).write_text(content)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    monkeypatch.setattr(cluster_module, "SERVICE_ACCOUNT", folder)
    loader = incluster_config.InClusterConfigLoader
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(folder / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(folder / "ca.crt"))

    def plain(self: object, host: str = f"http://127.0.0.1:{server.port}") -> None:
        load(self)
        self.host = host  # type: ignore[attr-defined]

    load = loader._load_config
    monkeypatch.setattr(loader, "_load_config", plain)
    return folder


def test_the_namespace_is_the_contexts_unless_another_is_named(server: ApiServer, tmp_path: Path) -> None:
    assert connect().namespace == "team"
    assert connect(context="bare").namespace == "default"
    assert connect(kubeconfig=tmp_path / "kubeconfig", namespace="other").namespace == "other"


def test_without_a_cluster_it_is_told_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match="no cluster to talk to") as caught:
        connect()
    assert str(tmp_path / "absent") in caught.value.received


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "file is empty"),
        ("a: [", "cannot be read as a kubeconfig"),
        ("garbage", "cannot be read as a kubeconfig"),
        ("[]", "cannot be read as a kubeconfig"),
        ("apiVersion: v1", "Expected key current-context"),
        ("current-context: a\ncontexts: []\nclusters: []", "Expected object with name a"),
    ],
)
def test_a_kubeconfig_that_is_none_is_told(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "kubeconfig").write_text(content)
    with pytest.raises(ConfigurationError, match="cannot be used") as raised:
        connect(kubeconfig=tmp_path / "kubeconfig")
    assert told in raised.value.received


def test_a_context_that_is_not_there_is_told(server: ApiServer) -> None:
    with pytest.raises(ConfigurationError, match="The kubeconfig has no context absent"):
        connect(context="absent")


def test_a_namespace_that_is_no_name_is_told(server: ApiServer) -> None:
    with pytest.raises(ConfigurationError, match="'My_Team' cannot be the name of a Namespace"):
        connect(namespace="My_Team")


def test_in_a_pod_without_a_service_account_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ConfigurationError, match="The pod has no ServiceAccount"):
        connect()


def test_a_pod_takes_its_service_account_unless_a_kubeconfig_is_named(
    server: ApiServer, service_account: Path, tmp_path: Path
) -> None:
    find(connect(), TRAIN)
    assert server.headers["authorization"] == "bearer first"
    find(connect(kubeconfig=tmp_path / "kubeconfig"), TRAIN)
    assert server.headers["authorization"] == "Bearer secret"


def test_a_token_that_is_no_longer_taken_is_read_again(
    server: ApiServer, service_account: Path, clock: JumpingClock
) -> None:
    in_pod = replace(connect(), clock=clock)
    server.put(job(), "jobs")
    with waiting(server, in_pod) as answer:
        (service_account / "token").write_text("second")
        server.tokens = {"second"}
        server.end_watches(cleanly=True)
        wait_for("it watches again", lambda: server.calls.count("watch jobs") == 2)
        server.put(job(condition="Complete"), "jobs")
    assert answer.error is None
    assert server.headers["authorization"] == "bearer second"


def test_a_token_that_stays_refused_is_told(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    server.tokens = set()
    with pytest.raises(ClusterError, match="did not accept the credentials") as caught:
        wait(cluster, TRAIN, until=JOB_COMPLETE, timeout=1000)
    assert "Log in to the cluster again" in caught.value.what_to_do
    assert clock.slept == []


def test_a_token_file_of_a_kubeconfig_is_read_again(server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    kubeconfig = tmp_path / "kubeconfig"
    content = yaml.safe_load(kubeconfig.read_text())
    content["users"][0]["user"] = {"tokenFile": str(tmp_path / "token")}
    kubeconfig.write_text(yaml.safe_dump(content))
    server.tokens = {"first"}
    connected = connect(kubeconfig=kubeconfig)
    find(connected, TRAIN)
    (tmp_path / "token").write_text("second")
    server.tokens = {"second"}
    find(connected, TRAIN)
    assert server.headers["authorization"] == "Bearer second"


@pytest.mark.parametrize(
    ("address", "tries_again"),
    [("http://127.0.0.1:9", True), ("http://absent.invalid", False)],
)
def test_a_server_that_cannot_be_reached_is_told(
    server: ApiServer, tmp_path: Path, clock: JumpingClock, address: str, tries_again: bool
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubeconfig.read_text().replace(f"http://127.0.0.1:{server.port}", address))
    away = replace(connect(), clock=clock)
    with pytest.raises(ClusterError, match="did not answer when asked to look up the API version batch/v1"):
        find(away, TRAIN)
    assert bool(clock.slept) is tries_again
    assert clock.now() <= 60


def test_a_name_that_is_not_found_for_a_moment_is_looked_up_again(
    server: ApiServer, cluster: Cluster, clock: JumpingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, failures = socket.getaddrinfo, [socket.gaierror(socket.EAI_AGAIN, "Temporary failure")] * 2

    def look_up_after_a_while(*arguments: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return look_up(*arguments, **named)

    server.put(job(), "jobs")
    find(cluster, TRAIN)
    server.fail("get", Fault())  # the connection is gone, and the name is looked up for a new one
    monkeypatch.setattr(socket, "getaddrinfo", look_up_after_a_while)
    assert find(cluster, TRAIN)
    assert not failures
    assert len(clock.slept) == 3


def test_credentials_that_are_refused_for_a_moment_are_tried_again(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.fail("watch", *[Fault(401)] * 5)
        server.end_watches(cleanly=True)
        wait_for("it watches again", lambda: server.calls.count("watch jobs") == 7)
        server.put(job(condition="Complete"), "jobs")
    assert answer.error is None


def test_credentials_that_are_refused_from_now_on_end_a_wait(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.tokens = set()
        server.end_watches(cleanly=True)
    assert isinstance(answer.error, ClusterError)
    assert "Log in to the cluster again" in answer.error.what_to_do
    assert 50 < sum(clock.slept) < 70


def test_no_pause_is_as_long_as_a_proxy_may_ask_for(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    server.put(job(), "jobs")
    server.fail("get", Fault(503, headers={"Retry-After": "3600"}))
    assert find(cluster, TRAIN)
    assert max(clock.slept) == 30
