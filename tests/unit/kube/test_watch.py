"""Watches: whatever happens to the connection, what they tell adds up to what is there."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.references import Selection
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.waiting.watch import Watch
from tests.unit.kube.api_handler import Fault
from tests.unit.kube.api_server import ApiServer, api_server
from tests.unit.kube.conftest import JumpingClock

LAST = "last"
NAMES = st.sampled_from(["a", "b", "c"])
FAULTS = st.sampled_from([Fault(), Fault(503), Fault(500), Fault(429, headers={"Retry-After": "2"})])
CHANGES = st.one_of(
    st.tuples(st.just("put"), NAMES, st.sampled_from(["x", "y"])), st.tuples(st.just("remove"), NAMES, st.just(""))
)
ACTIONS = st.one_of(
    CHANGES,
    st.tuples(st.just("end"), st.booleans(), st.none()),
    st.tuples(st.just("miss"), CHANGES, st.booleans()),
    st.tuples(st.just("bookmark"), st.none(), st.none()),
    st.tuples(st.just("fault"), st.sampled_from(["list", "watch"]), FAULTS),
)


def pod(name: str, label: str = "x") -> Manifest:
    return {"metadata": {"name": name, "labels": {"group": label}}}


def versions(manifests: Iterator[Manifest]) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in manifests}


def change(server: ApiServer, kind: str, name: str, label: str) -> None:
    if kind == "put":
        server.put(pod(name, label), "pods")
    elif ("pods", name) in server.objects:
        server.remove("pods", name)


def act(server: ApiServer, kind: str, first: object, second: object) -> None:
    if kind == "end":
        server.end_watches(cleanly=bool(first))
    elif kind == "miss":
        server.miss(lambda: change(server, *first), as_event=bool(second))  # type: ignore[misc]
    elif kind == "bookmark":
        server.bookmark()
    elif kind == "fault":
        assert isinstance(second, Fault)
        server.fail(str(first), second)
    else:
        change(server, kind, str(first), str(second))


def told(watch: Watch) -> dict[str, str]:
    """What is there by what the watch tells, up to the last object."""
    present: dict[str, Manifest] = {}
    uids: dict[str, str] = {}
    for each in watch:
        if each.kind == "listed":
            continue
        name, uid = each.manifest["metadata"]["name"], each.manifest["metadata"]["uid"]
        if each.kind == "present":
            assert uids.setdefault(name, uid) == uid, "another object without a word of the end of the first"
            present[name] = each.manifest
        else:
            assert uids.pop(name) == uid
            del present[name]
        if LAST in present:
            watch.close()
    return versions(iter(present.values()))


@pytest.mark.parametrize("labels", ["", "group=x"])
@given(actions=st.lists(ACTIONS, max_size=12))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_end_is_the_same(
    tmp_path: Path, labels: str, actions: list[tuple[str, object, object]]
) -> None:
    with api_server() as server:
        server.put(pod("a"), "pods")
        cluster = replace(connect(kubeconfig=server.kubeconfig(tmp_path / "kubeconfig")), clock=JumpingClock())
        watch = Watch(cluster, Selection("v1", "Pod", labels=labels), patience=10_000)
        answer: list[dict[str, str]] = []
        thread = threading.Thread(target=lambda: answer.append(told(watch)))
        thread.start()
        server.wait_for_watches(1)
        for action in actions:
            act(server, *action)
        server.put(pod(LAST), "pods")
        thread.join(20)
        watch.close()
        chosen = [each for each in server.objects.values() if not labels or each["metadata"]["labels"]["group"] == "x"]
        assert answer == [versions(iter(chosen))]


@contextmanager
def reading(watch: Watch) -> Iterator[queue.Queue[str]]:
    """Read a watch in a thread, which has ended when the block ends."""
    kinds: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for each in watch:
            kinds.put(each.kind)

    thread = threading.Thread(target=read)
    thread.start()
    yield kinds
    watch.close()
    thread.join(20)
    assert not thread.is_alive()


def test_a_connection_that_died_unnoticed_is_replaced(
    server: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepworks.kube.waiting.watch.WATCH_SECONDS", 1)
    monkeypatch.setattr("stepworks.kube.waiting.watch.GRACE_SECONDS", 0)
    with reading(Watch(cluster, Selection("v1", "Pod"))) as kinds:
        server.wait_for_watches(1)
        server.silence_watches()
        server.put(pod(LAST), "pods")
        assert [kinds.get(timeout=20) for _ in range(2)] == ["listed", "present"]


def test_a_watch_is_closed_while_it_waits_for_the_server(server: ApiServer, cluster: Cluster) -> None:
    with reading(Watch(cluster, Selection("v1", "Pod"))) as kinds:
        server.wait_for_watches(1)
    assert kinds.get_nowait() == "listed"
    server.wait_for_watches(0)
