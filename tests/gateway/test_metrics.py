"""A canary behind a Gateway that is judged by what a real Prometheus counts, under the traffic of clients."""

from pathlib import Path

import pytest

from stepworks.errors import ObjectFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kubeflow.pipeline import pipeline
from stepworks.serving.manifest import Samples
from testbed.bed import Bed
from tests.control_plane.serving.team import BY_PROMETHEUS, METRICS, MODEL, Clients, Team, compose
from tests.control_plane.serving.test_metrics import STORM, fail_in_a_storm, start_prometheus
from tests.gateway.test_canary import BEHIND_GATEWAY, HOST, weights
from tests.prometheus_server import MISSING, WHY_MISSING

pytestmark = pytest.mark.skipif(MISSING, reason=WHY_MISSING)


@pytest.fixture
def team(gateway_bed: Bed, gateway_cluster: Cluster, tmp_path: Path) -> Team:
    @pipeline(version="1.0.0")
    def judged_by_prometheus_behind_a_gateway() -> None:
        """Deploy and roll out by a Gateway and by what Prometheus counts."""
        compose(BY_PROMETHEUS, METRICS, BEHIND_GATEWAY)

    return Team(gateway_bed, gateway_cluster, tmp_path, judged_by_prometheus_behind_a_gateway)


def test_what_only_clients_see_takes_a_version_back_and_a_good_one_is_promoted(
    gateway_bed: Bed, gateway_cluster: Cluster, team: Team
) -> None:
    start_prometheus(gateway_cluster)
    team.register(1)
    team.deploy(1)
    team.roll_out(1)
    rows = Samples.read(team.registry.get(MODEL, 1).directory).rows
    calm = next(row for row in rows if None not in row.values())
    address = f"{gateway_bed.gateway}/v2/models/{MODEL}/infer"
    with Clients(team, [calm, {**calm, "wind_speed": STORM}], address, HOST) as clients:
        team.register(2, fail_in_a_storm)
        team.deploy(2)  # its recorded rows are answered rightly
        assert clients.failures == []
        with pytest.raises(ObjectFailedError):
            team.roll_out(2)
        assert team.canary(2).outcome == "rolled_back"
        assert "failed" in team.canary(2).reason
        failed = len(clients.failures)
        assert failed
        team.register(3)
        team.deploy(3)
        course = team.roll_out(3)
        assert len(clients.failures) == failed
    assert course.outcome == "promoted"
    assert weights(gateway_cluster) == {"flights-v3-predictor": 100}
    split = [stage for stage in course.stages if stage.percent < 100]
    assert all(stage.stable and stage.stable.requests > stage.stable.probes > 0 for stage in split)
