"""A server that is not ours behind a Gateway: every version is asked by the model's own name."""

from pathlib import Path

import httpx
import numpy as np
import polars as pl

from stepworks.kube.api.cluster import Cluster
from stepworks.serving.manifest import Samples
from testbed.bed import Bed
from tests.control_plane.serving.team import MODEL
from tests.control_plane.serving.test_formats import NAMES, estimator
from tests.gateway.test_canary import HOST, KServeTeam, weights


def test_a_model_of_scikit_learn_is_rolled_out_on_kserves_own_server(
    gateway_bed: Bed, gateway_cluster: Cluster, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.parquet"
    pl.DataFrame(np.random.default_rng(3).normal(size=(60, 3)), NAMES).write_parquet(rows)
    team = KServeTeam(gateway_bed, gateway_cluster, tmp_path)
    for version in (1, 2):
        run = team.register_package(version, lambda package, seed=version: estimator(rows, package, seed))
        team.deploy(version)
        course = team.roll_out(version)
        assert course.outcome == "promoted"
        assert all(stage.candidate.probes for stage in course.stages)
        samples = Samples.read(run / "package")
        values = [value for row in samples.rows for value in row["features"]]
        tensor = {"name": "features", "datatype": "FP64", "shape": [len(samples.rows), 3], "data": values}
        address = f"{gateway_bed.gateway}/v2/models/{MODEL}/infer"
        body, headers = {"inputs": [tensor]}, {"Host": HOST}
        answer = httpx.post(address, json=body, headers=headers, timeout=60, trust_env=False).raise_for_status().json()
        assert answer["outputs"][0]["data"] == samples.answers
        assert answer["model_name"] == MODEL
    assert weights(gateway_cluster) == {"flights-v2-predictor": 100}
    assert team.versions() == ["flights-v2"]
