"""Where artifacts lie, as Kubeflow Pipelines, KServe and pods name it."""

from pathlib import PurePosixPath

import pytest

from stepworks.artifact_uri import S3Endpoint, Source, for_kserve, in_claim, in_pod
from stepworks.errors import ConfigurationError
from stepworks.placement.storage import Mount

SHARED = Mount(claim="team-shared", mount_path="/mnt/shared", access_mode="ReadWriteMany")
NESTED = Mount(claim="runs", mount_path="/mnt/shared/runs", access_mode="ReadWriteMany", sub_path="a/b")
MOUNTS = (SHARED, NESTED)


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("gs://bucket/model", Source("gs://bucket/model")),
        ("s3://bucket/model", Source("s3://bucket/model")),
        ("pvc://claim/a/model", Source("pvc://claim/a/model")),
        ("hf://org/model:main", Source("hf://org/model:main")),
        ("https://host/a?sig=b", Source("https://host/a?sig=b")),
        (
            "minio://mlpipeline/v2/artifacts/run/model",
            Source("s3://mlpipeline/v2/artifacts/run/model", S3Endpoint("minio-service.kubeflow:9000", tls=False)),
        ),
        (
            "minio://mlpipeline/model?endpoint=store.example.com",
            Source("s3://mlpipeline/model", S3Endpoint("store.example.com")),
        ),
        (
            "s3://bucket/model?endpoint=http://store:9000&region=eu&s3ForcePathStyle=true",
            Source("s3://bucket/model", S3Endpoint("store:9000", "eu", tls=False)),
        ),
        (
            "s3://bucket/model?endpoint=store:9000&disableSSL=true",
            Source("s3://bucket/model", S3Endpoint("store:9000", tls=False)),
        ),
        (
            "s3://bucket/model?endpoint=store.example.com&s3ForcePathStyle=false",
            Source("s3://bucket/model", S3Endpoint("store.example.com", virtual_bucket=True)),
        ),
        ("s3://bucket/model?region=eu", Source("s3://bucket/model")),
    ],
)
def test_kserve_is_told_what_it_reads(uri: str, wanted: Source) -> None:
    assert for_kserve(uri) == wanted


def test_the_secret_of_a_store_says_where_it_answers() -> None:
    assert S3Endpoint("store:9000", "eu", tls=False).annotations == {
        "serving.kserve.io/s3-endpoint": "store:9000",
        "serving.kserve.io/s3-region": "eu",
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-usevirtualbucket": "0",
    }


@pytest.mark.parametrize("uri", ["", "/mnt/shared/model", "file:///model", "ftp://host/model", "mlflow-artifacts:/1"])
def test_what_kserve_does_not_read_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="KServe cannot read the model"):
        for_kserve(uri)


@pytest.mark.parametrize(("uri", "missing"), [("pvc:///model", "no claim"), ("minio:///model", "no bucket")])
def test_a_uri_names_a_claim_or_a_bucket(uri: str, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        for_kserve(uri)


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/mnt/shared/models/1", "pvc://team-shared/models/1"),
        ("/mnt/shared", "pvc://team-shared"),
        ("/mnt/shared/runs/7/model", "pvc://runs/a/b/7/model"),
        ("/mnt/shared/runs", "pvc://runs/a/b"),
        ("/mnt/sharedness/model", ""),
        ("/tmp/model", ""),
    ],
)
def test_a_path_is_on_the_innermost_claim(path: str, uri: str) -> None:
    assert in_claim(path, MOUNTS) == uri
    if uri:
        assert in_pod(uri, MOUNTS) == PurePosixPath(path)


@pytest.mark.parametrize(
    "uri", ["s3://team-shared/model", "pvc://other/model", "pvc://runs/a/model", "pvc://team-shared/../model"]
)
def test_what_a_pod_does_not_mount_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="does not mount") as caught:
        in_pod(uri, MOUNTS)
    assert "pvc://team-shared/… or pvc://runs/a/b/…" in caught.value.expected


def test_a_path_that_leaves_its_claim_is_on_none() -> None:
    assert in_claim("/mnt/shared/../secret", MOUNTS) == ""
