"""The compiled steps deploy and roll_out_canary in pods of their own, by KServe's controller and its router."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepworks.errors import ObjectFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.serving.manifest import Row, Samples, read_package, write_manifest
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.serving.team import MODEL, Clients, Team

pytestmark = pytest.mark.skipif(
    pod_namespaces.MISSING,
    reason="a server listens on one port in every pod, which takes a network of its own: as root on Linux only",
)


@pytest.fixture
def team(serving_bed: Bed, serving_cluster: Cluster, tmp_path: Path) -> Team:
    return Team(serving_bed, serving_cluster, tmp_path)


def serve_the_first(team: Team) -> list[Row]:
    """Deploy a first version and roll it out; the rows that clients may send."""
    team.register(1)
    first = team.deploy(1)
    assert (first.stable_version, first.candidate_version) == (None, "1")
    assert first.url == f"http://flights.{team.cluster.namespace}.svc"
    assert [stage.percent for stage in team.roll_out(1).stages] == [100]
    champion = team.registry.champion(MODEL)
    assert champion
    assert champion.version == 1
    return Samples.read(champion.directory).rows


@pytest.mark.parametrize("serving_bed", ["older"], indirect=True)  # its router draws lots in another way
def test_a_version_replaces_another_and_no_client_is_lost(team: Team) -> None:
    with Clients(team, serve_the_first(team)) as clients:
        team.register(2)
        team.deploy(2)
        assert [stage.percent for stage in team.roll_out(2).stages] == [10, 50, 100]
        assert team.versions() == ["flights-v2"]
    assert clients.failures == []
    assert set(clients.answers) == {"flights-v1", "flights-v2"}


@pytest.mark.parametrize("serving_bed", ["newer"], indirect=True)
def test_versions_replace_each_other_under_traffic_and_a_bad_one_goes_back(team: Team) -> None:
    with Clients(team, serve_the_first(team)) as clients:
        team.register(2)
        second = team.deploy(2)
        assert (second.stable_version, second.candidate_version) == ("1", "2")
        assert team.versions() == ["flights-v1", "flights-v2"]
        assert [each["name"] for each in team.steps_of_the_graph()] == ["flights-v1"]
        team.register(3)
        team.deploy(3)  # nobody rolls the second one out
        team.try_with_all_traffic(3)  # as an attempt that was killed in its last stage
        assert [stage.percent for stage in team.roll_out(3).stages] == [10, 50, 100]
        champion = team.registry.champion(MODEL)
        assert champion
        assert champion.version == 3
        assert team.versions() == ["flights-v3"]

        for _ in range(2):  # as a retried step
            assert team.go_back().candidate_version == "1"
            assert [each["name"] for each in team.steps_of_the_graph()] == ["flights-v1"]
            assert team.versions() == ["flights-v1"]
        champion, previous = team.registry.champion(MODEL), team.registry.previous(MODEL)
        assert champion
        assert previous
        assert (champion.version, previous.version) == (1, 3)

        run = team.register(4)
        team.deploy(4)
        samples, inputs = Samples.read(run / "package"), read_package(run / "package").inputs
        wrong = [1 - probability for probability in samples.probabilities]
        (run / "package" / "samples.json").write_text(samples.model_copy(update={"answers": wrong}).model_dump_json())
        write_manifest(run / "package", inputs)
        with pytest.raises(ObjectFailedError) as caught:
            team.roll_out(4)
        assert "Version 4 of flights was not promoted" in str(caught.value.__notes__)
        assert "Version 1 serves as before." in str(caught.value.__notes__)
        assert team.canary(4).outcome == "rolled_back"
        assert [each["name"] for each in team.steps_of_the_graph()] == ["flights-v1"]
        assert team.versions() == ["flights-v1"]
    assert clients.failures == []
    assert set(clients.answers) == {"flights-v1", "flights-v3", "flights-v4"}
