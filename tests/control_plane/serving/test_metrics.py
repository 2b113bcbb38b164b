"""A roll-out that is judged by what a real Prometheus counts at real servers, under the traffic of clients."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

from stepworks.errors import ObjectFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, create
from stepworks.kube.api.references import reference_to
from stepworks.kube.kinds.rules import POD_READY
from stepworks.kube.waiting.wait import wait
from stepworks.serving.manifest import MODEL_FILE, OUTPUT, Samples, read_package, write_manifest
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.jobs import TARGET
from tests.control_plane.serving.team import MODEL, Clients, Team, judged_by_prometheus
from tests.prometheus_server import MISSING, WHY_MISSING

pytestmark = [
    pytest.mark.skipif(
        pod_namespaces.MISSING,
        reason="a server listens on one port in every pod, which takes a network of its own: as root on Linux only",
    ),
    pytest.mark.skipif(MISSING, reason=WHY_MISSING),
    pytest.mark.parametrize("serving_bed", ["newer"], indirect=True),
]
STORM = 12345.0
"""No wind speed of the recorded rows."""


def start_prometheus(cluster: Cluster) -> None:
    """Run Prometheus in a pod; it scrapes the Services of three versions, as soon as they are there."""
    targets = [f"{MODEL}-v{version}-predictor:80" for version in (1, 2, 3)]
    scraped = [{"targets": targets, "labels": {"namespace": cluster.namespace}}]
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "models", "static_configs": scraped}],
    }
    labels = {"app": "prometheus"}
    settings = {"metadata": {"name": "prometheus"}, "data": {"config.yaml": json.dumps(configuration)}}
    apply(cluster, {"apiVersion": "v1", "kind": "ConfigMap", **settings})
    ports = [{"port": 9090, "targetPort": 9090}]
    spec = {"selector": labels, "ports": ports}
    apply(cluster, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "prometheus"}, "spec": spec})
    container = {
        "name": "prometheus",
        "image": TARGET.image("serving"),  # the programs of this machine
        "command": ["prometheus", "--config.file=/etc/settings/config.yaml", "--storage.tsdb.path=/data"],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
        "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}, {"name": "data", "mountPath": "/data"}],
    }
    volumes = [{"name": "settings", "configMap": {"name": "prometheus"}}, {"name": "data", "emptyDir": {}}]
    pod = create(
        cluster,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "prometheus", "labels": labels},
            "spec": {"containers": [container], "volumes": volumes},
        },
    )
    wait(cluster, reference_to(pod), until=POD_READY, timeout=60)


def fail_in_a_storm(package: Path) -> None:
    """Let the model of a package fail on rows that its recorded ones do not show, and seal it again."""
    inputs = read_package(package).inputs
    model = onnx.load(package / MODEL_FILE)
    for node in model.graph.node:
        node.output[:] = ["right" if name == OUTPUT else name for name in node.output]
    constants = {"limit": (onnx.TensorProto.FLOAT, 9999.0), "nothing": (onnx.TensorProto.FLOAT, 0.0)}
    for name, (kind, value) in constants.items():
        model.graph.initializer.append(helper.make_tensor(name, kind, [1], [value]))
    model.graph.node.extend(
        [
            helper.make_node("Greater", ["wind_speed", "limit"], ["storm"]),
            helper.make_node("Cast", ["storm"], ["place"], to=onnx.TensorProto.INT64),
            helper.make_node("Gather", ["nothing", "place"], ["added"]),  # there is one place only
            helper.make_node("Add", ["right", "added"], [OUTPUT]),
        ]
    )
    onnx.checker.check_model(model)
    (package / MODEL_FILE).write_bytes(model.SerializeToString(deterministic=True))
    write_manifest(package, inputs)


def test_what_only_clients_see_takes_a_version_back_and_a_good_one_is_promoted(
    serving_bed: Bed, serving_cluster: Cluster, tmp_path: Path
) -> None:
    team = Team(serving_bed, serving_cluster, tmp_path, judged_by_prometheus)
    start_prometheus(serving_cluster)
    team.register(1)
    team.deploy(1)
    team.roll_out(1)
    rows = Samples.read(team.registry.get(MODEL, 1).directory).rows
    calm = next(row for row in rows if None not in row.values())
    with Clients(team, [calm, {**calm, "wind_speed": STORM}]) as clients:
        team.register(2, fail_in_a_storm)
        team.deploy(2)  # its recorded rows are answered rightly
        assert clients.failures == []
        with pytest.raises(ObjectFailedError):
            team.roll_out(2)
        course = team.canary(2)
        assert course.outcome == "rolled_back"
        assert "failed" in course.reason
        assert team.versions() == ["flights-v1"]
        failed = len(clients.failures)
        assert failed
        team.register(3)
        team.deploy(3)
        course = team.roll_out(3)
        assert course.outcome == "promoted"
        assert len(clients.failures) == failed
        stages = [stage for stage in course.stages if stage.percent < 100]
        assert all(stage.stable and stage.stable.requests > stage.stable.probes for stage in stages)
