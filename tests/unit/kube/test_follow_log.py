"""A log that is followed comes whole and once, whatever the connection does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepworks.errors import NotFoundError
from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.pods import follow_log
from tests.http_server import serving
from tests.unit.kube.api_handler import Handler, Manifest
from tests.unit.kube.api_server import ApiServer


class FollowedHandler(Handler):
    """Sends what the container has written so far, and then ends the log or breaks the connection."""

    sendings: list[tuple[bytes, bool]]

    def _get(self) -> tuple[int, Manifest | str]:
        if self.subresource != "log" or not self._found():
            return super()._get()
        assert self.query["follow"] == "true"
        content, whole = self.sendings.pop(0)
        self._begin_stream()
        self._chunk(content)
        if whole:
            self._chunk(b"")
        else:
            self.close_connection = True
        return 0, ""

    def _answer(self, code: int, content: Manifest | str, **headers: str) -> None:
        if code:  # else it was answered already
            super()._answer(code, content, **headers)


@pytest.fixture
def sendings() -> list[tuple[bytes, bool]]:
    return []


@pytest.fixture
def following(tmp_path: Path, sendings: list[tuple[bytes, bool]]) -> Iterator[Cluster]:
    state = ApiServer()
    state.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "train"}}, "pods")
    with serving(type("Following", (FollowedHandler,), {"state": state, "sendings": sendings})) as state.port:
        yield connect(kubeconfig=state.kubeconfig(tmp_path / "kubeconfig"))


def test_a_log_is_followed_to_its_end(following: Cluster, sendings: list[tuple[bytes, bool]]) -> None:
    sendings.append((b"one\ntwo\n", True))
    assert b"".join(follow_log(following, "train")) == b"one\ntwo\n"


def test_after_a_broken_connection_it_goes_on_where_it_was(
    following: Cluster, sendings: list[tuple[bytes, bool]]
) -> None:
    sendings += [(b"one\ntw", False), (b"one\n", False), (b"one\ntwo\nthree\n", True)]
    assert b"".join(follow_log(following, "train")) == b"one\ntwo\nthree\n"
    assert sendings == []


def test_a_pod_that_is_gone_has_no_log(following: Cluster) -> None:
    with pytest.raises(NotFoundError):
        list(follow_log(following, "evaluate"))
