"""The steps deploy and roll_out_canary, killed by SIGKILL after each write that they make, and retried."""

import itertools
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from stepworks.errors import ObjectFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference
from stepworks.kube.kinds.rules import INFERENCE_SERVICE_READY
from stepworks.kube.waiting.wait import wait
from stepworks.kubeflow.pipeline import pipeline
from stepworks.serving.manifest import Samples
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.serving.team import MODEL, POLICY, Clients, Team, compose

pytestmark = [
    pytest.mark.skipif(
        pod_namespaces.MISSING,
        reason="a server listens on one port in every pod, which takes a network of its own: as root on Linux only",
    ),
    pytest.mark.long,
    pytest.mark.parametrize("serving_bed", ["newer"], indirect=True),
]
ROLL_OUT = ["deployment", "package", "registration"], ["canary", "page"]
SHORT = {**POLICY, "stages": [50, 100], "candidate_requests": 10, "window_seconds": 2, "window_probes": 40}


@pipeline(version="1.0.0")
def quickly() -> None:
    """Deploy and roll out in two stages."""
    compose(SHORT, {})


@pytest.fixture
def team(serving_bed: Bed, serving_cluster: Cluster, tmp_path: Path) -> Team:
    return Team(serving_bed, serving_cluster, tmp_path, quickly)


class Killing:
    """Runs steps of a team that are killed after one of their writes."""

    def __init__(self, team: Team) -> None:
        self._team = team
        folder = shutil.copytree(Path(__file__).with_name("killing"), team.claim / "killing")
        self._killed = folder / "killed"

    def after(self, write: int, step: Callable[[], object]) -> bool:
        """Run a step to be killed after so many writes; whether it was, and has not ended before."""
        self._team.environment = {"PYTHONPATH": "/mnt/registry/killing", "KILL_AFTER": str(write)}
        self._killed.unlink(missing_ok=True)
        try:
            step()
        except ObjectFailedError:
            if not self._killed.exists():
                raise
        finally:
            self._team.environment = {}
        return self._killed.exists()


def serving_versions(team: Team) -> list[str]:
    """The versions that the router asks, each of which is ready."""
    names = [str(each["name"]) for each in team.steps_of_the_graph() if each.get("weight", 100) > 0]
    for name in names:
        service = Reference("serving.kserve.io/v1beta1", "InferenceService", name, team.cluster.namespace)
        wait(team.cluster, service, until=INFERENCE_SERVICE_READY, timeout=5)
    return names


def test_killed_after_any_write_nothing_is_lost_and_a_retry_ends_it(team: Team) -> None:
    team.register(1)
    killing = Killing(team)
    assert killing.after(1, partial(team.deploy, 1))
    team.deploy(1)
    assert team.roll_out(1).outcome == "promoted"
    champion = team.registry.champion(MODEL)
    assert champion
    rows = Samples.read(champion.directory).rows
    with Clients(team, rows) as clients:
        for write in itertools.count(1):
            version = write + 1
            team.register(version)
            killing.after(write, partial(team.deploy, version))
            assert serving_versions(team) == [f"{MODEL}-v{write}"]
            team.deploy(version)
            was_killed = killing.after(write, partial(team.step, "roll-out-canary", version, *ROLL_OUT))
            asked = serving_versions(team)
            assert set(asked) <= {f"{MODEL}-v{write}", f"{MODEL}-v{version}"}
            assert team.roll_out(version).outcome == "promoted"
            assert serving_versions(team) == [f"{MODEL}-v{version}"]
            assert team.versions() == [f"{MODEL}-v{version}"]
            champion = team.registry.champion(MODEL)
            assert champion
            assert champion.version == version
            if not was_killed:
                break
    assert clients.failures == []
    assert write > 4  # three of the traffic, one of the registry, and one that ends the old version
