"""Recorded rows to two versions: to each directly, and through what splits their traffic."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from stepworks.errors import ServingError
from stepworks.kube.model_traffic import Entrance
from stepworks.serving.formats.kserve import served
from stepworks.serving.kserve.probes import TrafficProber, VersionProber
from stepworks.serving.launch import ServerPlan, start_servers
from stepworks.serving.manifest import Samples, read_package
from stepworks.serving.package_client import PackageClient
from stepworks.serving.rollout.probes import Probe, Recorded, read_probes
from stepworks.serving.split_admin import ArmName
from stepworks.supervisor.supervisor import Supervisor
from tests.http_server import serving


class Server(NamedTuple):
    name: str
    url: str


NOBODY = "http://127.0.0.1:9"
Connect = Callable[[dict[ArmName, Server]], dict[ArmName, PackageClient]]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[dict[ArmName, Server]]:
    """Two real servers of the same package."""
    names: dict[ArmName, str] = {"stable": "flights-v1", "candidate": "flights-v2"}
    with Supervisor(tmp_path_factory.mktemp("logs")) as supervisor:
        urls = start_servers(supervisor, [ServerPlan(name, package, name) for name in names.values()])
        yield {arm: Server(name, urls[name]) for arm, name in names.items()}


@pytest.fixture(scope="module")
def probes(package: Path) -> list[Probe]:
    return read_probes(package, package)


@pytest.fixture
def connect(package: Path) -> Connect:
    manifest, samples = read_package(package), Samples.read(package)

    def connect(versions: dict[ArmName, Server]) -> dict[ArmName, PackageClient]:
        way = served(manifest.format)
        return {
            arm: PackageClient(each.url, each.name, "flights", way, manifest, samples) for arm, each in versions.items()
        }

    return connect


def rows(probes: list[Probe]) -> dict[ArmName, list[Recorded]]:
    arms: tuple[ArmName, ...] = ("stable", "candidate")
    return {arm: [Recorded(probe.row, probe.of(arm)) for probe in probes] for arm in arms}


def test_each_version_gets_each_row(versions: dict[ArmName, Server], probes: list[Probe], connect: Connect) -> None:
    with VersionProber(connect(versions), rows(probes)) as prober:
        results = [prober.send() for _ in range(10)]
    assert [result.arm for result in results] == ["stable", "candidate"] * 5
    assert not any(result.wrong or result.failed for result in results)
    assert all(result.milliseconds > 0 for result in results)


def test_an_answer_is_held_against_its_own_version(
    versions: dict[ArmName, Server], probes: list[Probe], connect: Connect
) -> None:
    wrong = [Probe(probe.row, candidate=2.0, stable=probe.stable) for probe in probes]
    with VersionProber(connect(versions), rows(wrong)) as prober:
        assert [prober.send().wrong for _ in range(4)] == [False, True, False, True]


def test_a_version_that_does_not_answer_has_failed(
    versions: dict[ArmName, Server], probes: list[Probe], connect: Connect
) -> None:
    gone = {**versions, "candidate": Server("flights-v2", NOBODY)}
    with VersionProber(connect(gone), rows(probes)) as prober:
        assert [prober.send().failed for _ in range(4)] == [False, True, False, True]


def router(versions: dict[ArmName, Server], course: str) -> type[BaseHTTPRequestHandler]:
    """Send requests on as a course says, over and over: to the stable version, the candidate, or nobody."""
    arms: Iterator[str] = itertools.cycle(course)
    named = {"s": versions["stable"], "c": versions["candidate"]}

    class Router(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            version = named.get(next(arms))
            if version is None:
                status, content = 500, b'{"error": "a version failed"}'
            else:
                url = f"{version.url}/v2/models/{version.name}/infer"
                headers = {"Content-Type": "application/json"}
                answer = httpx.post(url, content=body, headers=headers, trust_env=False)
                status, content = answer.status_code, answer.content
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Router


def through(port: int, clients: dict[ArmName, PackageClient], probes: list[Probe]) -> TrafficProber:
    return TrafficProber(Entrance(f"http://127.0.0.1:{port}"), clients, probes)


def test_through_the_traffic_an_answer_tells_its_version(
    versions: dict[ArmName, Server], probes: list[Probe], connect: Connect
) -> None:
    wrong = [Probe(probe.row, candidate=2.0, stable=probe.stable) for probe in probes]
    with serving(router(versions, "ssc-")) as port, through(port, connect(versions), wrong) as prober:
        results = [prober.send() for _ in range(6)]
    assert [result.arm for result in results] == ["stable", "stable", "candidate"] * 2
    assert [result.wrong for result in results] == [False, False, True] * 2


def test_a_failure_without_a_name_is_that_of_the_version_that_is_gone(
    versions: dict[ArmName, Server], probes: list[Probe], connect: Connect
) -> None:
    gone = {**versions, "candidate": Server("flights-v2", NOBODY)}
    with serving(router(versions, "s-")) as port, through(port, connect(gone), probes) as prober:
        results = [prober.send() for _ in range(4)]
    assert [(result.arm, result.failed, result.uncounted) for result in results] == [
        ("stable", False, False),
        ("candidate", True, True),
    ] * 2


def test_a_model_that_never_answers_is_told(
    versions: dict[ArmName, Server], probes: list[Probe], connect: Connect
) -> None:
    told = pytest.raises(ServingError, match=r"(?s)does not answer.*status 500.*flights-v1 or flights-v2")
    with serving(router(versions, "-")) as port, through(port, connect(versions), probes) as prober, told:
        prober.send()
    with (
        TrafficProber(Entrance(NOBODY), connect(versions), probes) as prober,
        pytest.raises(ServingError, match="ConnectError"),
    ):
        prober.send()
