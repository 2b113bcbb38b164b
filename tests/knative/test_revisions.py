"""The compiled steps in pods of their own, by the real KServe and Knative, with Traefik as the ingress."""

from pathlib import Path

import pytest

from stepworks.errors import ObjectFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.serving.manifest import Samples, read_package, write_manifest
from testbed.bed import Bed
from tests.control_plane.serving.team import MODEL
from tests.knative.team import KnativeTeam, RevisionClients


@pytest.fixture
def team(knative_bed: Bed, knative_cluster: Cluster, tmp_path: Path) -> KnativeTeam:
    return KnativeTeam(knative_bed, knative_cluster, tmp_path)


def answer_wrongly(package: Path) -> None:
    """Let the rows of a package be recorded otherwise than its model answers."""
    samples, inputs = Samples.read(package), read_package(package).inputs
    wrong = [1 - probability for probability in samples.probabilities]
    (package / "samples.json").write_text(samples.model_copy(update={"answers": wrong}).model_dump_json())
    write_manifest(package, inputs)


def champion(team: KnativeTeam) -> int:
    model = team.registry.champion(MODEL)
    assert model
    return model.version


def test_versions_replace_each_other_under_traffic_and_a_bad_one_goes_back(knative_bed: Bed, team: KnativeTeam) -> None:
    packages = {"1": team.register(1) / "package"}
    first = team.deploy(1)
    assert (first.stable_version, first.candidate_version) == (None, "1")
    assert first.url == f"http://flights-predictor.{team.cluster.namespace}.svc"
    assert [stage.percent for stage in team.roll_out(1).stages] == [100]
    assert champion(team) == 1
    row = next(row for row in Samples.read(packages["1"]).rows if None not in row.values())
    with RevisionClients(knative_bed, team, row) as clients:
        packages["2"] = team.register(2) / "package"
        assert team.deploy(2).stable_version == "1"
        assert team.shares() == {"00001": 100}
        team.revisions.share("2", 100)  # as an attempt that was killed in its last stage
        assert [stage.percent for stage in team.roll_out(2).stages] == [10, 50, 100]
        assert (team.serving().version, team.serving().percent) == ("2", None)
        assert team.shares() == {"00002": 100}
        assert champion(team) == 2

        packages["3"] = team.register(3) / "package"
        team.deploy(3)
        assert team.shares() == {"00002": 100}
        answer_wrongly(packages["3"])
        with pytest.raises(ObjectFailedError) as caught:
            team.roll_out(3)
        assert "Version 3 of flights was not promoted" in str(caught.value.__notes__)
        assert "Version 2 serves as before." in str(caught.value.__notes__)
        assert team.canary(3).outcome == "rolled_back"
        assert (team.serving().version, team.serving().percent) == ("2", None)
        assert team.shares() == {"00004": 100}
        uri = team.revisions.present()["spec"]["predictor"]["model"]["storageUri"]
        assert uri == "pvc://registry/flights/2/package"

        for _ in range(2):  # as a retried step
            assert team.go_back().candidate_version == "1"
            assert team.shares() == {"00005": 100}
        assert champion(team) == 1
    assert clients.failures == []
    assert set(clients.answered(packages)) == {"1", "2", "3"}
