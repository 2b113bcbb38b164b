import signal
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stepworks.kube.api.cluster import Cluster, connect
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.attempts import Attempt


class JumpingClock:
    """A clock that nobody waits for: to sleep is to jump."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        self.slept.append(seconds)
        self.time += seconds


@pytest.fixture(autouse=True)
def plain_sigterm() -> Iterator[None]:
    """Put coverage's handler of SIGTERM aside: it ends the process, as the handler that there was before ours."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def cluster(server: ApiServer, clock: JumpingClock) -> Cluster:
    return replace(connect(), clock=clock)


@pytest.fixture
def attempt(cluster: Cluster) -> Attempt:
    return Attempt(cluster)
