"""Where an artifact lies, in the words of whoever is to read it: KServe, the pods of a job, people.

Kubeflow Pipelines names artifacts by the store of its default install, `minio://bucket/key`, which nobody else reads:
to KServe it is an S3 store, `s3://bucket/key`, whose endpoint and keys a Secret holds. What lies on a claim is known to
pods by a path below their mount, and to KServe as `pvc://claim/path`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from stepworks.errors import ConfigurationError
from stepworks.placement.storage import Mount, mount_of

DEFAULT_ENDPOINT = "minio-service.kubeflow:9000"
"""Where the store of a default install of Kubeflow Pipelines answers, without TLS."""

_READ_BY_KSERVE = ("s3", "gs", "pvc", "hf", "https", "http", "oci", "hdfs", "webhdfs")
_TRUE = ("1", "t", "true")


@dataclass(frozen=True)
class S3Endpoint:
    """An S3 store that is not that of AWS.

    Attributes:
        address: Its host and port.
        region: Its region; empty where it has none.
        tls: Whether it is spoken to by HTTPS.
        virtual_bucket: Whether a bucket is a part of the host's name, and not of the path.
    """

    address: str
    region: str = ""
    tls: bool = True
    virtual_bucket: bool = False

    @property
    def annotations(self) -> dict[str, str]:
        """What KServe wants to find at the Secret with the keys of the store."""
        told = {
            "s3-endpoint": self.address,
            "s3-usehttps": str(int(self.tls)),
            "s3-usevirtualbucket": str(int(self.virtual_bucket)),
        }
        if self.region:
            told["s3-region"] = self.region
        return {f"serving.kserve.io/{key}": value for key, value in told.items()}


@dataclass(frozen=True)
class Source:
    """What KServe is told.

    Attributes:
        uri: The `storageUri`.
        endpoint: The store that a Secret must name for it; None where KServe finds it by itself.
    """

    uri: str
    endpoint: S3Endpoint | None = None


def for_kserve(uri: str) -> Source:
    """Map an artifact's URI to one that KServe reads.

    The query of a pipeline root (`s3://bucket/path?endpoint=…&disableSSL=true&s3ForcePathStyle=true&region=…`) becomes
    the endpoint.

    Args:
        uri: An artifact's URI, or any that KServe reads itself.

    Raises:
        ConfigurationError: It has no scheme, or one that KServe does not read; or it names no bucket, claim or host.
    """
    parts = urlsplit(uri)
    scheme, authority = parts.scheme.lower(), parts.netloc
    if scheme not in (*_READ_BY_KSERVE, "minio"):
        raise ConfigurationError(
            "KServe cannot read the model from where it is",
            received=uri or "an empty URI",
            expected=f"one of {', '.join(f'{each}://' for each in _READ_BY_KSERVE)}, or minio:// of Kubeflow Pipelines",
            what_to_do="Put the model on a claim, and name it pvc://CLAIM/PATH; or let the pipeline root be a bucket.",
        )
    if not authority:
        raise ConfigurationError(
            f"The URI of the model names no {'claim' if scheme == 'pvc' else 'bucket or host'}",
            received=uri,
            expected=f"{scheme}://NAME/PATH",
            what_to_do="Give the artifact's URI as Kubeflow shows it.",
        )
    if scheme not in ("s3", "minio"):
        return Source(uri)
    query = {key.lower(): values[-1] for key, values in parse_qs(parts.query).items()}
    return Source(f"s3://{authority}{parts.path}", _endpoint(scheme, query))


def _endpoint(scheme: str, query: Mapping[str, str]) -> S3Endpoint | None:
    """The store that a URI of Kubeflow Pipelines means; None for that of AWS."""
    told = query.get("endpoint") or (f"http://{DEFAULT_ENDPOINT}" if scheme == "minio" else "")
    if not told:
        return None
    address = urlsplit(told if "://" in told else f"//{told}")
    return S3Endpoint(
        address.netloc,
        query.get("region", ""),
        tls=address.scheme != "http" and query.get("disablessl", "").lower() not in _TRUE,
        virtual_bucket=query.get("s3forcepathstyle", "true").lower() not in _TRUE,
    )


def in_claim(path: str | PurePath, mounts: Sequence[Mount]) -> str:
    """Name a path of a pod by the claim that it is on.

    Args:
        path: An absolute path in a pod.
        mounts: What the pod mounts.

    Returns:
        `pvc://claim/path`; empty where the path is on no claim.
    """
    asked = PurePosixPath(path)
    mount = mount_of(asked, mounts)
    if mount is None or ".." in asked.parts:
        return ""
    inside = PurePosixPath(mount.sub_path) / asked.relative_to(mount.mount_path)
    return f"pvc://{mount.claim}" + ("" if inside == PurePosixPath() else f"/{inside}")


def in_pod(uri: str, mounts: Sequence[Mount]) -> PurePosixPath:
    """Find what lies on a claim in a pod that mounts it.

    Args:
        uri: `pvc://claim/path`.
        mounts: What the pod mounts.

    Raises:
        ConfigurationError: The URI is not that of a claim, or the pod does not mount it.
    """
    parts = urlsplit(uri)
    inside = PurePosixPath(unquote(parts.path).lstrip("/"))
    if parts.scheme == "pvc" and ".." not in inside.parts:
        for mount in mounts:
            if mount.claim == parts.netloc and inside.is_relative_to(mount.sub_path):
                return PurePosixPath(mount.mount_path) / inside.relative_to(mount.sub_path)
    raise ConfigurationError(
        "The pod does not mount what it is to read",
        received=uri,
        expected=" or ".join(in_claim(each.mount_path, mounts) + "/…" for each in mounts) or "a pod with a claim",
        what_to_do="Name the claim in the mounts of the step.",
    )
