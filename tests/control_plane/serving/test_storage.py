"""A model that lies where a default install of Kubeflow Pipelines keeps artifacts, fetched by KServe from there.

The store is moto, a server of the S3 protocol, in a pod; KServe's own storage initializer fetches from it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from stepworks.errors import ConfigurationError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import apply, create, delete, find
from stepworks.kube.api.references import Reference, reference_to
from stepworks.kube.builders.inference_service import InferenceServiceSpec
from stepworks.kube.kinds.rules import GONE, POD_READY
from stepworks.kube.model_service import deploy_inference_service
from stepworks.kube.waiting.wait import wait
from stepworks.serving.client import ask
from stepworks.serving.manifest import Samples
from stepworks.serving.package import build_package
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.jobs import TARGET
from tests.control_plane.pods import pods
from tests.control_plane.serving.conftest import onnx_spec
from tests.unit.serving.conftest import write_model, write_raw_table
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(
        pod_namespaces.MISSING,
        reason="a server listens on one port in every pod, which takes a network of its own: as root on Linux only",
    ),
    pytest.mark.parametrize("serving_bed", ["newer"], indirect=True),
]
BUCKET = "mlpipeline"
ROOT = "v2/artifacts/tabular-train-and-deploy/run-1/package-model/package"
URI = f"minio://{BUCKET}/{ROOT}"
"""As the default pipeline root of an install names an artifact."""
KEYS = {"aws_access_key_id": "minio", "aws_secret_access_key": "minio123"}


@pytest.fixture
def store(serving_bed: Bed) -> Iterator[Any]:
    """The store of a default install, at its address: the Service minio-service of the namespace kubeflow."""
    cluster = connect(kubeconfig=serving_bed.kubeconfig, namespace="kubeflow")
    apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubeflow"}})
    wait_for("pods can be made", lambda: find(cluster, Reference("v1", "ServiceAccount", "default")) is not None)
    labels = {"app": "minio"}
    server = {
        "name": "minio",
        "image": TARGET.image("serving"),  # the programs of this machine
        "command": ["moto_server", "-H", "0.0.0.0", "-p", "9000"],  # of the pod
        # A bucket is a part of the path, as MinIO has it: the name of the Service is none.
        "env": [{"name": "S3_IGNORE_SUBDOMAIN_BUCKETNAME", "value": "true"}],
        "readinessProbe": {"tcpSocket": {"port": 9000}, "periodSeconds": 1},
    }
    spec = {"containers": [server], "terminationGracePeriodSeconds": 1}
    pod = create(
        cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "minio", "labels": labels}, "spec": spec}
    )
    service = apply(
        cluster,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "minio-service"},
            "spec": {"selector": labels, "ports": [{"port": 9000}]},
        },
    )
    try:
        wait(cluster, reference_to(pod), until=POD_READY, timeout=120)
        address = f"http://{service['spec']['clusterIP']}:9000"
        client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **KEYS)
        client.create_bucket(Bucket=BUCKET)
        yield client
    finally:
        for each in (service, pod):
            delete(cluster, reference_to(each))
        wait(cluster, reference_to(pod), until=GONE, timeout=60)


@pytest.fixture
def package(store: Any, tmp_path: Path) -> Path:
    """A package, which is in the store, too."""
    folder = tmp_path / "package"
    build_package(write_model(tmp_path / "model", seed=1), write_raw_table(tmp_path / "test.parquet"), folder)
    for file in folder.rglob("*"):
        if file.is_file():
            store.upload_file(str(file), BUCKET, f"{ROOT}/{file.relative_to(folder)}")
    return folder


def deploy(cluster: Cluster, given: InferenceServiceSpec) -> None:
    deploy_inference_service(cluster, given, name="flights-v1", run="run-1", timeout=180)


def make_secret(bed: Bed, cluster: Cluster, told: str) -> None:
    """Do what the message says, with the keys in their places."""
    for command in told.partition("Make it: ")[2].split(" && "):
        filled = command.replace("AWS_ACCESS_KEY_ID=…", f"AWS_ACCESS_KEY_ID={KEYS['aws_access_key_id']}")
        filled = filled.replace("AWS_SECRET_ACCESS_KEY=…", f"AWS_SECRET_ACCESS_KEY={KEYS['aws_secret_access_key']}")
        program, *arguments = shlex.split(filled)
        assert program == "kubectl"
        bed.kubectl("-n", cluster.namespace, *arguments)


def test_what_a_default_install_keeps_is_served_after_doing_what_the_refusal_says(
    serving_bed: Bed, serving_cluster: Cluster, package: Path
) -> None:
    with pytest.raises(ConfigurationError, match="not told where that answers") as refused:
        deploy(serving_cluster, onnx_spec(URI))
    make_secret(serving_bed, serving_cluster, refused.value.what_to_do)

    deploy(serving_cluster, onnx_spec(URI, storage_secret="model-store"))
    (pod,) = pods(serving_cluster, "Running")
    samples = Samples.read(package)
    answers = ask(f"http://{pod['status']['podIP']}:8080", "flights-v1", samples.rows)
    assert answers == pytest.approx(samples.probabilities, abs=1e-6)

    absent = onnx_spec(f"{URI}-absent", storage_secret="model-store")
    with pytest.raises(WorkloadFailedError) as failed:
        deploy_inference_service(serving_cluster, absent, name="flights-v2", run="run-1", timeout=180)
    assert f"s3://{BUCKET}/{ROOT}-absent" in failed.value.page
    assert [each["metadata"]["name"] for each in pods(serving_cluster, "Running")] == [pod["metadata"]["name"]]
